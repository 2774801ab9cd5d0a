"""Reads passive liveness: whether a face is a person in front of the camera or a print or screen."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import cv2
import numpy as np

from worker.engine.align import similarity
from worker.engine.base import Detection, Image
from worker.engine.blobs import planar, scaled
from worker.engine.session import Session

ALIGNED_SIDE: Final = 80
ALIGNED_TEMPLATE: Final = np.array([[32.03, 38.06], [47.89, 37.98], [40.01, 47.08], [33.50, 56.36], [46.63, 56.29]])
"""Where InsightFace's liveness add-on expects the five points in its crop of 80x80."""
MOST_MISSING: Final = 0.30
"""Share of that crop that may lie outside the image; above it the add-on refuses to judge."""
_LEVELS: Final = scaled(mean=0.0, scale=1.0)
_UNIT: Final = scaled(mean=0.0, scale=1 / 255)


class LivenessReader(Protocol):
    """A passive liveness model with its preprocessing. Safe for several threads."""

    def read(self, image: Image, face: Detection) -> float | None:
        """Chance from 0 to 1 that the face is live; None where too little of its surroundings is in the image."""


def surroundings(
    box: tuple[float, float, float, float], *, width: int, height: int, growth: float = 2.7
) -> tuple[int, int, int, int]:
    """The box grown so many times about its centre, less where that does not fit, and shifted inside the image.

    Shifting matters: with padding instead, 88 % of the spoofs that were tried pass. The rounding is that of
    Silent-Face-Anti-Spoofing's crop, which these weights are used to: a pixel more or less moves scores by up to 0.16.

    Returns:
        Left, top, right and bottom in pixels, the last two exclusive; never empty, never over the border.
    """
    x1, y1, x2, y2 = (int(value) for value in box)
    box_width, box_height = max(1, x2 - x1), max(1, y2 - y1)
    growth = min((height - 1) / box_height, (width - 1) / box_width, growth)
    new_width, new_height = box_width * growth, box_height * growth
    left = min(max(x1 + box_width / 2 - new_width / 2, 0.0), width - 1 - new_width)
    top = min(max(y1 + box_height / 2 - new_height / 2, 0.0), height - 1 - new_height)
    left, top = max(left, 0.0), max(top, 0.0)  # the subtraction above may end a hair below zero
    return int(left), int(top), int(left + new_width) + 1, int(top + new_height) + 1


class ContextLiveness:
    """Judges a face within its surroundings (`context-2.7-bgr-128`, `minifas-2.7-bgr-80`, `minifas-4.0-bgr-80`)."""

    def __init__(self, session: Session, *, growth: float, side: int, live: int) -> None:
        """Take a model that sees the box grown so many times, in a square of `side`, and says live at this index."""
        self._session = session
        self._growth = growth
        self._side = side
        self._live = live

    def read(self, image: Image, face: Detection) -> float:
        """Chance from 0 to 1 that the face is live: the softmax at the index for it.

        The model sees BGR, 0..255, neither shifted nor scaled: fed RGB it is near chance on prints (area under the
        curve 0.52 against 0.93).
        """
        high, wide = image.shape[:2]
        left, top, right, bottom = surroundings(face.box, width=wide, height=high, growth=self._growth)
        region = np.asarray(cv2.resize(image[top:bottom, left:right], (self._side, self._side)), np.uint8)
        logits = self._session.run(planar([region], _LEVELS, order="bgr"))[0][0].astype(np.float64)
        odds = np.exp(logits - logits.max())
        return float(odds[self._live] / odds.sum())


class AlignedLiveness:
    """Judges an aligned face with a rim around it: InsightFace's liveness add-on (`aligned-80-rgb`)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, image: Image, face: Detection) -> float | None:
        """Chance from 0 to 1 that the face is live, as the model gives it; None where its crop reaches too far out."""
        matrix = similarity(np.array(face.landmarks, np.float64), ALIGNED_TEMPLATE)
        size = (ALIGNED_SIDE, ALIGNED_SIDE)
        inside = cv2.warpAffine(np.ones(image.shape[:2], np.float32), matrix, size)
        if 1.0 - float(np.mean(inside)) > MOST_MISSING:
            return None
        crop = np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        return float(np.clip(self._session.run(planar([crop], _UNIT, order="rgb"))[0].reshape(-1)[0], 0.0, 1.0))


class Ensemble:
    """Several models as one: the mean of what those say that can judge the face."""

    def __init__(self, readers: Sequence[LivenessReader]) -> None:
        self._readers = tuple(readers)

    def read(self, image: Image, face: Detection) -> float | None:
        """Chance from 0 to 1 that the face is live; None where no model can judge it."""
        scores = [score for reader in self._readers if (score := reader.read(image, face)) is not None]
        return sum(scores) / len(scores) if scores else None


READERS: Final[dict[str, Callable[[Session], LivenessReader]]] = {
    "context-2.7-bgr-128": partial(ContextLiveness, growth=2.7, side=128, live=0),
    "minifas-2.7-bgr-80": partial(ContextLiveness, growth=2.7, side=80, live=1),
    "minifas-4.0-bgr-80": partial(ContextLiveness, growth=4.0, side=80, live=1),
    "aligned-80-rgb": AlignedLiveness,
}
"""The reader of each preprocessing that a manifest may name for a liveness model."""

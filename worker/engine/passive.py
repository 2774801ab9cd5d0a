"""Read passive liveness: whether a face is a person in front of the camera, or a print or screen."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, Protocol

import cv2
import numpy as np

from shared.errors import ErrorCode, JobError
from worker.engine.align import similarity
from worker.engine.base import Detection, Image
from worker.engine.blobs import planar, scaled
from worker.engine.session import Session

ALIGNED_SIDE: Final = 80
ALIGNED_TEMPLATE: Final = np.array([[32.03, 38.06], [47.89, 37.98], [40.01, 47.08], [33.50, 56.36], [46.63, 56.29]])
"""Positions of the five points in the 80x80 crop of InsightFace's liveness add-on."""
MOST_MISSING: Final = 0.30
"""Share of that crop that may lie outside the image; above it the face is not judged."""
_LEVELS: Final = scaled(mean=0.0, scale=1.0)
_UNIT: Final = scaled(mean=0.0, scale=1 / 255)


class LivenessReader(Protocol):
    """A passive liveness model with its preprocessing. Thread-safe."""

    def read(self, image: Image, face: Detection) -> float | None:
        """Return the probability that the face is live; None if too little of its surroundings is in the image."""


def surroundings(
    box: tuple[float, float, float, float], *, width: int, height: int, growth: float = 2.7
) -> tuple[int, int, int, int]:
    """Return the box scaled by `growth` about its center, or less if it does not fit, and shifted into the image.

    Shifting matters: with padding instead, 88 % of the tested spoofs pass. The rounding is that of the crop in
    Silent-Face-Anti-Spoofing, which these weights were trained with: one pixel changes scores by up to 0.16.

    Returns:
        Left, top, right and bottom in pixels, the last two exclusive; never empty, never outside the image.
    """
    x1, y1, x2, y2 = (int(value) for value in box)
    box_width, box_height = max(1, x2 - x1), max(1, y2 - y1)
    growth = min((height - 1) / box_height, (width - 1) / box_width, growth)
    new_width, new_height = box_width * growth, box_height * growth
    left = min(max(x1 + box_width / 2 - new_width / 2, 0.0), width - 1 - new_width)
    top = min(max(y1 + box_height / 2 - new_height / 2, 0.0), height - 1 - new_height)
    left, top = max(left, 0.0), max(top, 0.0)  # rounding may put the subtraction above slightly below zero
    return int(left), int(top), int(left + new_width) + 1, int(top + new_height) + 1


class ContextLiveness:
    """Judges a face within its surroundings (`context-2.7-bgr-128`, `minifas-2.7-bgr-80`, `minifas-4.0-bgr-80`)."""

    def __init__(self, session: Session, *, growth: float, side: int, live: int) -> None:
        """Wrap a model that sees the box scaled by `growth` in a square of `side`; output `live` is the live class."""
        self._session = session
        self._growth = growth
        self._side = side
        self._live = live

    def read(self, image: Image, face: Detection) -> float:
        """Return the probability that the face is live: the softmax of the live class.

        The input is BGR, 0..255, neither shifted nor scaled. With RGB the model is near chance on prints (area under
        the ROC curve 0.52 instead of 0.93).
        """
        high, wide = image.shape[:2]
        left, top, right, bottom = surroundings(face.box, width=wide, height=high, growth=self._growth)
        region = np.asarray(cv2.resize(image[top:bottom, left:right], (self._side, self._side)), np.uint8)
        logits = self._session.run(planar([region], _LEVELS, order="bgr"))[0][0].astype(np.float64)
        odds = np.exp(logits - logits.max())
        return float(odds[self._live] / odds.sum())


class AlignedLiveness:
    """Judges an aligned face with some margin: InsightFace's liveness add-on (`aligned-80-rgb`)."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def read(self, image: Image, face: Detection) -> float | None:
        """Return the model's probability that the face is live; None if too much of the crop is outside the image."""
        matrix = similarity(np.array(face.landmarks, np.float64), ALIGNED_TEMPLATE)
        size = (ALIGNED_SIDE, ALIGNED_SIDE)
        inside = cv2.warpAffine(np.ones(image.shape[:2], np.float32), matrix, size)
        if 1.0 - float(np.mean(inside)) > MOST_MISSING:
            return None
        crop = np.asarray(cv2.warpAffine(image, matrix, size, borderMode=cv2.BORDER_REPLICATE), np.uint8)
        return float(np.clip(self._session.run(planar([crop], _UNIT, order="rgb"))[0].reshape(-1)[0], 0.0, 1.0))


class Ensemble:
    """All liveness models of a pack as one: the mean of those that can judge the face."""

    def __init__(self, readers: Sequence[LivenessReader], *, pack: str) -> None:
        self._readers = tuple(readers)
        self._pack = pack

    def read(self, image: Image, face: Detection) -> float | None:
        """Return the probability that the face is live; None if no model can judge it.

        Raises:
            JobError: `liveness_unavailable` if the pack has no liveness model.
        """
        if not self._readers:
            raise JobError(
                ErrorCode.LIVENESS_UNAVAILABLE, f"The model pack {self._pack} has no passive liveness model."
            )
        scores = [score for reader in self._readers if (score := reader.read(image, face)) is not None]
        return sum(scores) / len(scores) if scores else None


READERS: Final[dict[str, Callable[[Session], LivenessReader]]] = {
    "context-2.7-bgr-128": partial(ContextLiveness, growth=2.7, side=128, live=0),
    "minifas-2.7-bgr-80": partial(ContextLiveness, growth=2.7, side=80, live=1),
    "minifas-4.0-bgr-80": partial(ContextLiveness, growth=4.0, side=80, live=1),
    "aligned-80-rgb": AlignedLiveness,
}
"""The reader for each preprocessing that a manifest may specify for a liveness model."""

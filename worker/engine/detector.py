"""Finds faces: SCRFD with five points (Guo et al., 2021), at one or several sizes that one suppression merges."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from shared.errors import ErrorCode, JobError, SettingsError
from worker.engine.base import AS_THE_PACK_SAYS, Detection, Image, Search
from worker.engine.blobs import planar, scaled
from worker.engine.session import Session
from worker.packs.manifests import DetectionPlan

STRIDES: Final = (8, 16, 32)
ANCHORS: Final = 2
HEADS: Final = 3 * len(STRIDES)
OVERLAP: Final = 0.4
"""Boxes that overlap a better one by more than this (intersection over union) are the same face."""
CANVAS_STEP: Final = 32
"""A trimmed canvas is a multiple of the largest stride."""
RIM: Final = 64
"""Black pixels that stay beside a trimmed picture. With none, a face cut by the border moved (overlap 0.90 with the
full square, cosine 0.977); with 64 the worst of 42 pictures keeps 0.99 and 0.996, at 0.81 of the area."""
RETRY_SIDE: Final = 320
"""The second look at a picture without a face needs no more: of 79 faces cut out tightly it finds the same 77 as a look
at 640, with embeddings no further off (median cosine 0.944 against 0.938), at a quarter of the cost."""
GREY: Final = (127, 127, 127)
_TABLE: Final = scaled(mean=127.5, scale=1 / 128)

Rows = NDArray[np.float32]
"""Candidates, one a row: x1, y1, x2, y2, score, then five points as x, y; shape (candidates, 15)."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """An image fitted into the top left of a black canvas."""

    pixels: Image
    scale: float
    """Pixels of the image for one of the canvas."""


class Detector:
    """The detection model of a pack. Safe for several threads.

    Where its graph takes any size and `trimmed` is set, the canvas ends with the picture instead of being a full
    square: a photograph of 4:3 costs three quarters. On a GPU the full square keeps the shapes few.
    """

    def __init__(self, session: Session, plan: DetectionPlan, *, threshold: float, trimmed: bool) -> None:
        if session.outputs != HEADS:
            msg = f"The model pack does not fit this engine: {session.name} is not a SCRFD detector with five points"
            raise SettingsError(msg)
        self._session = session
        self._plan = plan
        self._threshold = threshold
        height, width = session.input_shape[2:]
        self._fixed = (width, height) if width is not None and height is not None else None
        self._trimmed = trimmed and self._fixed is None

    @property
    def provider(self) -> str:
        """The execution provider that really runs the model."""
        return self._session.provider

    @property
    def largest_side(self) -> int:
        """The larger side of the largest canvas that the pack's own plan uses, in pixels."""
        return max(map(max, self._plan.input_sizes))

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Every face, the largest box first.

        Where none is found, the image is tried again with a grey border, at a smaller size: a face that fills the frame
        is too large for the detector's anchors.
        """
        least = self._threshold if search.threshold is None else search.threshold
        sizes = self._sizes(search)
        found = _suppressed([self._rows(image, size, least=least) for size in sizes])
        for margin in self._plan.retry_margins:
            if len(found):
                break
            found = self._rows_with_margin(image, margin=margin, size=self._retry_size(sizes), least=least)
        return sorted(_detections(found), key=lambda face: -face.area)

    def _sizes(self, search: Search) -> Sequence[tuple[int, int]]:
        if search.sizes is None:
            return self._plan.input_sizes
        sizes = [(side, side) for side in search.sizes]
        if self._fixed is not None and any(size != self._fixed for size in sizes):
            width, height = self._fixed
            raise JobError(
                ErrorCode.INVALID_REQUEST,
                f"The detector of this model pack takes {width}x{height} alone; leave det_size out.",
            )
        return sizes

    def _retry_size(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        side = min(RETRY_SIDE, max(map(max, sizes)))
        return self._fixed or (side, side)

    def _rows(self, image: Image, size: tuple[int, int], *, least: float) -> Rows:
        """One pass: candidates in the pixels of the image, not yet merged."""
        height, width = image.shape[:2]
        if max(height, width) >= min(size) * min(height, width):
            return _NONE  # a strip so thin that nothing is left of it at the detector's size
        canvas = fitted(image, size, trimmed=self._trimmed)
        outputs = self._session.run(planar([canvas.pixels], _TABLE, order="rgb"))
        rows = decoded(outputs, canvas.pixels.shape[:2], least=least)
        rows[:, _PLACES] *= np.float32(canvas.scale)
        return rows

    def _rows_with_margin(self, image: Image, *, margin: float, size: tuple[int, int], least: float) -> Rows:
        """Faces of the image with a grey border of `margin` of each side, in the pixels of the image without it.

        The image is brought to the detector's size first: the same for the detector, and a border around a large
        photograph would cost memory.
        """
        height, width = image.shape[:2]
        scale = min(size) / ((1 + 2 * margin) * max(height, width))
        small = (max(1, round(width * scale)), max(1, round(height * scale)))
        across, down = round(small[0] * margin), round(small[1] * margin)
        framed = cv2.copyMakeBorder(
            cv2.resize(image, small, interpolation=_interpolation(scale)),
            down,
            down,
            across,
            across,
            cv2.BORDER_CONSTANT,
            value=GREY,
        )
        found = _suppressed([self._rows(np.asarray(framed, np.uint8), size, least=least)])
        found[:, _ACROSS] = (found[:, _ACROSS] - across) * (width / small[0])
        found[:, _DOWN] = (found[:, _DOWN] - down) * (height / small[1])
        return found


_NONE: Final[Rows] = np.empty((0, 15), np.float32)
_ACROSS: Final = [0, 2, 5, 7, 9, 11, 13]
_DOWN: Final = [1, 3, 6, 8, 10, 12, 14]
_PLACES: Final = _ACROSS + _DOWN


def _interpolation(scale: float) -> int:
    """Average what is shrunk: the second look then sees the same in a photograph and in a fraction of it."""
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR


def fitted(image: Image, size: tuple[int, int], *, trimmed: bool) -> Canvas:
    """The image shrunk or grown to fit a canvas of (width, height), at its top left; the rest is black.

    Rounded as insightface does it, with one scale for both directions: faces that others embedded with it must come
    out the same.
    """
    height, width = image.shape[:2]
    wide, high = size
    ratio = height / width
    inner = (int(high / ratio), high) if ratio > high / wide else (wide, int(wide * ratio))
    if trimmed:
        wide, high = (
            min(full, -(-(used + RIM) // CANVAS_STEP) * CANVAS_STEP) for full, used in zip(size, inner, strict=True)
        )
    pixels = np.zeros((high, wide, 3), np.uint8)
    cv2.resize(image, inner, dst=pixels[: inner[1], : inner[0]])
    return Canvas(pixels=pixels, scale=height / inner[1])


def decoded(outputs: Sequence[NDArray[np.float32]], shape: tuple[int, ...], *, least: float) -> Rows:
    """Candidates with at least this score, in the pixels of a canvas of `shape` (height, width).

    Each anchor gives a score, the distances to the four sides of its box, and five points relative to its centre, in
    strides.
    """
    found = []
    for level, stride in enumerate(STRIDES):
        scores = outputs[level].reshape(-1)
        chosen = np.flatnonzero(scores >= least)
        if not chosen.size:
            continue
        centres = _centres(shape[0] // stride, shape[1] // stride, stride)[chosen]
        sides = outputs[level + len(STRIDES)].reshape(-1, 4)[chosen] * stride
        points = outputs[level + 2 * len(STRIDES)].reshape(-1, 10)[chosen] * stride
        found.append(
            np.hstack(
                [centres - sides[:, :2], centres + sides[:, 2:], scores[chosen, None], points + np.tile(centres, 5)]
            )
        )
    return np.concatenate(found) if found else _NONE.copy()


@lru_cache(maxsize=256)
def _centres(rows: int, columns: int, stride: int) -> NDArray[np.float32]:
    """Centres of the anchors of one level, shape (rows * columns * ANCHORS, 2), x before y."""
    down, across = np.mgrid[:rows, :columns]
    cells = np.stack([across, down], axis=-1).reshape(-1, 2) * stride
    return np.repeat(cells, ANCHORS, axis=0).astype(np.float32)


def _suppressed(passes: Sequence[Rows]) -> Rows:
    """The best candidate of each face, over all passes: what overlaps a better one too much is dropped."""
    rows = np.concatenate(passes)
    x1, y1, x2, y2, scores = rows[:, :5].T
    areas = (x2 - x1 + 1) * (y2 - y1 + 1)
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
        best, rest = order[0], order[1:]
        kept.append(best)
        wide = np.minimum(x2[best], x2[rest]) - np.maximum(x1[best], x1[rest]) + 1
        high = np.minimum(y2[best], y2[rest]) - np.maximum(y1[best], y1[rest]) + 1
        shared = np.maximum(wide, 0) * np.maximum(high, 0)
        order = rest[shared <= OVERLAP * (areas[best] + areas[rest] - shared)]
    return rows[kept]


def _detections(rows: Rows) -> Iterator[Detection]:
    for x1, y1, x2, y2, score, *points in rows.tolist():
        yield Detection(
            box=(x1, y1, x2, y2),
            landmarks=tuple(zip(points[::2], points[1::2], strict=True)),
            score=min(1.0, score),
        )

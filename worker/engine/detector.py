"""Detect faces with SCRFD and five points (Guo et al., 2021), at one or several sizes merged by one NMS."""

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
"""Intersection over union above which two boxes are the same face."""
CANVAS_STEP: Final = 32
"""The sides of a trimmed canvas are multiples of the largest stride."""
RIM: Final = 64
"""Black pixels kept beside the picture on a trimmed canvas. Without them, a face cut by the border shifts (overlap 0.90
with the full square, cosine 0.977); with 64, the worst of 42 pictures has 0.99 and 0.996, at 0.81 of the area."""
RETRY_SIDE: Final = 320
"""Side of the retry with a border: of 79 tightly cropped faces it finds the same 77 as 640 does, with embeddings at
least as close (median cosine 0.944 and 0.938), at a quarter of the cost."""
GREY: Final = (127, 127, 127)
_TABLE: Final = scaled(mean=127.5, scale=1 / 128)

Rows = NDArray[np.float32]
"""Candidates, one per row: x1, y1, x2, y2, score, then five points as x, y; shape (candidates, 15)."""


@dataclass(frozen=True, slots=True)
class Canvas:
    """An image scaled into the top left of a black canvas."""

    pixels: Image
    scale: float
    """Image pixels per canvas pixel."""


class Detector:
    """The detection model of a pack. Thread-safe.

    If its graph takes any size and `trimmed` is set, the canvas is cut to the picture instead of being a full square: a
    4:3 photograph then costs three quarters. On a GPU, full squares keep the number of shapes small.
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
        """The execution provider that actually runs the model."""
        return self._session.provider

    @property
    def takes_any_size(self) -> bool:
        """Whether the graph takes squares of any size."""
        return self._fixed is None

    @property
    def largest_side(self) -> int:
        """The longer side of the largest canvas in the pack's own plan, in pixels."""
        return max(map(max, self._plan.input_sizes))

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Return all faces, the largest box first.

        If there is none, retry with a gray border at a smaller size: a face that fills the frame is too large for the
        detector's anchors.
        """
        least = self._threshold if search.threshold is None else search.threshold
        sizes = planned_sizes(search, self._plan.input_sizes, fixed=self._fixed)
        rows = _suppressed([self._rows(image, size, least=least) for size in sizes])
        for margin in self._plan.retry_margins:
            if len(rows) or not search.retry:
                break
            rows = self._rows_with_margin(image, margin=margin, size=self._retry_size(sizes), least=least)
        return sorted(_detections(rows), key=lambda face: -face.area)

    def _retry_size(self, sizes: Sequence[tuple[int, int]]) -> tuple[int, int]:
        side = min(RETRY_SIDE, max(map(max, sizes)))
        return self._fixed or (side, side)

    def _rows(self, image: Image, size: tuple[int, int], *, least: float) -> Rows:
        """Run one pass; return candidates in pixels of the image, before NMS."""
        height, width = image.shape[:2]
        if max(height, width) >= min(size) * min(height, width):
            return _NONE  # a strip so thin that it has no pixels at the detector's size
        canvas = fitted(image, size, trimmed=self._trimmed)
        outputs = self._session.run(planar([canvas.pixels], _TABLE, order="rgb"))
        rows = decoded(outputs, canvas.pixels.shape[:2], least=least)
        rows[:, _PLACES] *= np.float32(canvas.scale)
        return rows

    def _rows_with_margin(self, image: Image, *, margin: float, size: tuple[int, int], least: float) -> Rows:
        """Return the faces of the image with a gray border of `margin` of each side, in pixels of the borderless image.

        The image is scaled to the detector's size first, to save the memory of a border around a large photograph.
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
        rows = _suppressed([self._rows(np.asarray(framed, np.uint8), size, least=least)])
        rows[:, _ACROSS] = (rows[:, _ACROSS] - across) * (width / small[0])
        rows[:, _DOWN] = (rows[:, _DOWN] - down) * (height / small[1])
        return rows


def planned_sizes(
    search: Search, planned: Sequence[tuple[int, int]], *, fixed: tuple[int, int] | None
) -> Sequence[tuple[int, int]]:
    """Return the canvas sizes of a search: the pack's own unless the search names some.

    Args:
        search: the detection parameters.
        planned: the pack's own sizes as (width, height).
        fixed: the only size that the graph takes; None if it takes any.

    Raises:
        JobError: `invalid_request` if the detector does not support a size.
    """
    if search.sizes is None:
        return planned
    sizes = [(side, side) for side in search.sizes]
    if fixed is not None and any(size != fixed for size in sizes):
        width, height = fixed
        raise JobError(
            ErrorCode.INVALID_REQUEST,
            f"The detector of this model pack supports only {width}x{height}; omit det_size.",
        )
    return sizes


_NONE: Final[Rows] = np.empty((0, 15), np.float32)
_ACROSS: Final = [0, 2, 5, 7, 9, 11, 13]
_DOWN: Final = [1, 3, 6, 8, 10, 12, 14]
_PLACES: Final = _ACROSS + _DOWN


def _interpolation(scale: float) -> int:
    """Choose area averaging for shrinking, so that a photograph and its reduced copy give the same retry."""
    return cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR


def fitted(image: Image, size: tuple[int, int], *, trimmed: bool) -> Canvas:
    """Scale the image to fit a canvas of (width, height), at its top left; the rest is black.

    Rounds like insightface, with one scale for both axes, so that embeddings made with it stay comparable.
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
    """Decode the candidates with at least this score, in pixels of a canvas of `shape` (height, width).

    Each anchor predicts a score, the distances to the four sides of its box, and five points relative to its center, in
    strides.
    """
    levels = []
    for level, stride in enumerate(STRIDES):
        scores = outputs[level].reshape(-1)
        chosen = np.flatnonzero(scores >= least)
        if not chosen.size:
            continue
        centres = _centres(shape[0] // stride, shape[1] // stride, stride)[chosen]
        sides = outputs[level + len(STRIDES)].reshape(-1, 4)[chosen] * stride
        points = outputs[level + 2 * len(STRIDES)].reshape(-1, 10)[chosen] * stride
        levels.append(
            np.hstack(
                [centres - sides[:, :2], centres + sides[:, 2:], scores[chosen, None], points + np.tile(centres, 5)]
            )
        )
    return np.concatenate(levels) if levels else _NONE.copy()


@lru_cache(maxsize=256)
def _centres(rows: int, columns: int, stride: int) -> NDArray[np.float32]:
    """Return the anchor centers of one level, shape (rows * columns * ANCHORS, 2), x before y."""
    down, across = np.mgrid[:rows, :columns]
    cells = np.stack([across, down], axis=-1).reshape(-1, 2) * stride
    return np.repeat(cells, ANCHORS, axis=0).astype(np.float32)


def _suppressed(passes: Sequence[Rows]) -> Rows:
    """Apply NMS over all passes: keep the best candidate of each face."""
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

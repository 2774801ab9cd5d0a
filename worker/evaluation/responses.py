"""Measure how small a face may be for the coarse pass to respond to it, on labeled faces tiled into one picture."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import cv2
import numpy as np

from worker.engine.base import Detection, Engine, Image, Search
from worker.engine.degradations import Kind, degraded
from worker.images import Picture
from worker.operations import choosing
from worker.operations.coarse_to_fine import Plan

SIDES: Final = (10, 12, 14, 16, 20)
"""Square roots of the area of a face, in pixels of the coarse canvas."""
KINDS: Final[tuple[Kind | None, ...]] = (None, "light_5", "blur_7", "jpeg_5", "lower_half_covered", "eyes_covered")
ROOM: Final = 0.5
"""Surroundings of a tile, on each side of the box, relative to its longer side."""
TILE: Final = 2.6
"""Side of a tile, relative to that of the face."""
OVERLAP: Final = 0.3
WIDE, HIGH = 640, 448
GRAY: Final = 110


def responses(engine: Engine, pictures: Mapping[Path, Picture], plan: Plan) -> Iterator[str]:
    """Yield the lines of the report."""
    threshold = engine.info.thresholds.detection
    faces = [(picture.pixels, face) for picture in pictures.values() for face in engine.detect(picture.pixels)]
    faces = [(image, face) for image, face in faces if face.area**0.5 >= WIDE / plan.coarse * max(SIDES)]
    yield f"RESPONSE of the coarse pass to {len(faces)} faces that the full pass finds, by their side on its canvas"
    yield ""
    yield f"{'faces':<26}" + "".join(f"{f'{side} px':>20}" for side in SIDES)
    for kind in KINDS:
        tiles = [_tile(image, face, kind) for image, face in faces]
        yield f"{kind or 'as they are':<26}" + "".join(
            f"{_cell(_scores(engine, tiles, side, plan), threshold, plan):>20}" for side in SIDES
        )
    yield ""
    yield f"Found by the full pass; share of them with a coarse score of at least {threshold:g}, and {plan.response:g}."


def _cell(scores: Sequence[float], threshold: float, plan: Plan) -> str:
    if not scores:
        return "0"
    sure, any_ = (np.mean(np.array(scores) >= limit) for limit in (threshold, plan.response))
    return f"{len(scores)}: {sure:.0%}, {any_:.0%}"


def _scores(engine: Engine, tiles: Sequence[tuple[Image, float]], side: int, plan: Plan) -> list[float]:
    """Coarse score of each face that the full pass finds at this size; 0 without a response."""
    scale = WIDE / plan.coarse
    step = int(scale * side * TILE)
    columns, rows = WIDE // step, HIGH // step
    scores = []
    for start in range(0, len(tiles), columns * rows):
        canvas = np.full((HIGH, WIDE, 3), GRAY, np.uint8)
        for index, (tile, width) in enumerate(tiles[start : start + columns * rows]):
            factor = scale * side / width
            small = cv2.resize(tile, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)[:step, :step]
            top, left = index // columns * step, index % columns * step
            canvas[top : top + small.shape[0], left : left + small.shape[1]] = small
        coarse = engine.detect(canvas, Search(threshold=plan.response, sizes=(plan.coarse,), retry=False))
        scores += [
            max((one.score for one in coarse if choosing.overlap(one.box, face.box) > OVERLAP), default=0.0)
            for face in engine.detect(canvas, Search(retry=False))
            if face.area**0.5 >= 0.8 * scale * side
        ]
    return scores


def _tile(image: Image, face: Detection, kind: Kind | None) -> tuple[Image, float]:
    """A face with some surroundings, and the square root of its area."""
    x1, y1, x2, y2 = face.box
    reach = ROOM * max(x2 - x1, y2 - y1)
    left, top = max(0, int(x1 - reach)), max(0, int(y1 - reach))
    tile = np.ascontiguousarray(image[top : int(y2 + reach), left : int(x2 + reach)])
    moved = Detection(
        box=(x1 - left, y1 - top, x2 - left, y2 - top),
        landmarks=tuple((x - left, y - top) for x, y in face.landmarks),
        score=face.score,
    )
    return (tile if kind is None else degraded(tile, moved, kind)), face.area**0.5

"""Coarse-to-fine detection: find the only face that counts at a fraction of the cost of a full pass.

A small pass over the picture shows whether one face clearly stands out and no other could matter; a second one over its
surroundings then places its box and points. In every other case the caller runs the full pass. The limits are measured:
docs/models.md, "Coarse-to-fine detection".
"""

import math
from dataclasses import replace
from typing import Final, NamedTuple

from shared.operations import OneFaceParams, SelectiveParams
from worker.engine.base import Detection, Engine, EngineInfo, Search
from worker.engine.quality import measure
from worker.images import Picture
from worker.operations import choosing


class Plan(NamedTuple):
    """Sizes and limits of the two passes."""

    coarse: int = 320
    """Side of the square that the picture is scaled into."""
    fine: int = 160
    """Side of the square that the surroundings of the face are scaled into."""
    margin: float = 0.6
    """Surroundings on each side of the box, relative to its longer side."""
    smallest: float = 14.0
    """Side of a face, in pixels of the coarse canvas, from which the coarse pass responds to it."""
    response: float = 0.2
    """Score of a possible face. It is far below the detection threshold, to notice faces in poor light."""
    sure: float = 0.7
    """Minimum coarse score of the face. A lower one suggests a picture in which other faces may be overlooked."""
    dark: float = 40.0
    """Minimum mean gray level of the face. The coarse pass overlooks small faces in the dark."""


PLAN: Final = Plan()
SLACK: Final = 0.7
"""Tolerance for the areas of coarse boxes: another face may count from this share of the exact limit."""
SAME_FACE: Final = 0.5
"""Overlap of the coarse and the fine box of a face, as intersection over union."""


def is_worthwhile(params: SelectiveParams, info: EngineInfo, plan: Plan = PLAN) -> bool:
    """Return whether a coarse pass may be sufficient for an operation with these parameters."""
    if not info.coarse_to_fine or info.largest_side <= plan.coarse or params.det_size is not None:
        return False
    if isinstance(params, OneFaceParams):
        return math.sqrt(params.ignore_below) * plan.coarse > plan.smallest
    return params.select != "all"


def detect(engine: Engine, picture: Picture, params: SelectiveParams, plan: Plan = PLAN) -> list[Detection] | None:
    """Return the faces of a picture in which exactly one counts, that one first; None if the full pass must decide.

    The first face has the precision of the fine pass. The others are too small to change the outcome of `params`, and
    the smallest of them may be missing.
    """
    threshold = engine.info.thresholds.detection if params.det_threshold is None else params.det_threshold
    search = Search(threshold=min(plan.response, threshold), sizes=(plan.coarse,), retry=False)
    candidates = engine.detect(picture.pixels, search)
    if not candidates or candidates[0].score < max(plan.sure, threshold):
        return None
    face, *others = candidates
    least_area = choosing.least_area(face, picture, params)
    if math.sqrt(least_area) < plan.smallest * max(picture.pixels.shape[:2]) / plan.coarse:
        return None
    if any(other.area >= SLACK * least_area for other in others):
        return None
    if measure(picture.pixels, face).brightness < plan.dark:
        return None
    fine = _refined(engine, picture, face, plan)
    return None if fine is None else [fine, *(other for other in others if other.score >= threshold)]


def _refined(engine: Engine, picture: Picture, face: Detection, plan: Plan) -> Detection | None:
    """Detect a face again in its surroundings; return None if it is not found there."""
    high, wide = picture.pixels.shape[:2]
    x1, y1, x2, y2 = face.box
    reach = max(x2 - x1, y2 - y1) * (0.5 + plan.margin)
    x, y = (x1 + x2) / 2, (y1 + y2) / 2
    left, top = max(0, round(x - reach)), max(0, round(y - reach))
    region = picture.pixels[top : min(high, round(y + reach)), left : min(wide, round(x + reach))]
    search = Search(threshold=plan.response, sizes=(plan.fine,), retry=False)
    candidates = [_moved(candidate, left, top) for candidate in engine.detect(region, search)]
    best = max(candidates, key=lambda candidate: choosing.overlap(candidate.box, face.box), default=None)
    if best is None or choosing.overlap(best.box, face.box) <= SAME_FACE:
        return None
    return replace(best, score=max(best.score, face.score))


def _moved(face: Detection, left: int, top: int) -> Detection:
    x1, y1, x2, y2 = face.box
    return replace(
        face,
        box=(x1 + left, y1 + top, x2 + left, y2 + top),
        landmarks=tuple((x + left, y + top) for x, y in face.landmarks),
    )

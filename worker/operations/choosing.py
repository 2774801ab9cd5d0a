"""Decide which detected faces are kept, counted and chosen."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from shared.faces import Box
from shared.operations import OneFaceParams, Select, SelectiveParams
from shared.results import FaceReason, OtherFaceReason
from worker.engine.base import Detection
from worker.images import Picture

REACH: Final = 0.2
"""Distance from the center of the picture, as a share of its diagonal, at which a face counts half its area."""
COMPARABLE: Final = 0.5
"""A face with at least this share of the highest prominence may be the person as well. In the 11 labelled
group pictures the second face has more than 0.7 (tests/integration/test_selection.py)."""
LEAST_INSIDE: Final = 0.75
"""Share of the box inside the picture. The InsightFace liveness add-on uses a limit of 0.70 on a smaller crop."""
SURELY_INSIDE: Final = 0.85
"""The same for a coarse box, which may differ."""
CENTRAL_TOLERANCE: Final = 0.3
"""Share of a coarse face's area by which its central weight may be too high."""

_Weigh = Callable[[Detection], float]


@dataclass(frozen=True, slots=True)
class Other:
    """A face that was not chosen."""

    face: Detection
    prominence: float
    """Relative to the highest prominence in the picture, 0-1."""
    reason: OtherFaceReason


@dataclass(frozen=True, slots=True)
class Chosen:
    """The face that an operation applies to, or why there is none."""

    face: Detection | None
    count: int
    """Faces that were counted, before one was chosen."""
    candidates: int
    """Counted faces that may be the person; more than one is ambiguous."""
    others: tuple[Other, ...] = ()
    """All faces that were not chosen, the most prominent first."""

    @property
    def reason(self) -> FaceReason:
        """Why there is no face; meaningful only if `face` is None."""
        return "multiple_faces" if self.count else "no_face"


def kept(found: list[Detection], picture: Picture, *, least_side: float, most: int) -> list[Detection]:
    """Return the first `most` faces whose shorter side is at least `least_side` pixels of the whole image."""
    across, down = picture.scale
    large = (face for face in found if shorter_side(face, across=across, down=down) >= least_side)
    return list(large)[:most]


def selected(faces: list[Detection], picture: Picture, *, select: Select) -> list[Detection]:
    """Return the selected faces, in order; empty only if `faces` is empty.

    `prominent` selects the face with the highest prominence and those comparable to it. `largest` and `center` select
    one face, the first among equals. `all` selects every face.
    """
    if not faces or select == "all":
        return faces
    if select == "prominent":
        prominences = _relative(faces, picture)
        return [face for face, share in zip(faces, prominences, strict=True) if share >= COMPARABLE]
    return [max(faces, key=_area if select == "largest" else _central(picture))]


def one(faces: list[Detection], picture: Picture, params: OneFaceParams) -> Chosen:
    """Choose the face of the person; choose none if it is ambiguous.

    Bystanders far smaller than the largest face do not count. With `prominent`, neither do faces that are mostly
    outside the picture, unless all are.
    """
    whole = faces
    if params.select == "prominent":
        whole = [face for face in faces if share_inside(face, picture) >= LEAST_INSIDE] or faces
    counted = [face for face in whole if face.area >= params.ignore_below * whole[0].area]
    meant = selected(counted, picture, select=params.select)
    chosen = meant[0] if len(meant) == 1 else None

    def why(face: Detection) -> OtherFaceReason:
        if any(face is each for each in meant):
            return "comparable"
        if any(face is each for each in counted):
            return "less_prominent"
        return "small" if any(face is each for each in whole) else "outside"

    others = [
        Other(face, share, why(face))
        for face, share in zip(faces, _relative(faces, picture), strict=True)
        if face is not chosen
    ]
    others.sort(key=lambda other: -other.prominence)
    return Chosen(face=chosen, count=len(counted), candidates=len(meant), others=tuple(others))


def least_area(face: Detection, picture: Picture, params: SelectiveParams) -> float:
    """Return the area below which no other face can change the outcome for this one, the largest; 0 if any may.

    In square pixels of `picture.pixels`, like the area of the face.
    """
    if isinstance(params, OneFaceParams):
        if params.select == "prominent" and share_inside(face, picture) < SURELY_INSIDE:
            return 0.0  # the face may not count itself, and then any other may be the largest that does
        return params.ignore_below * face.area
    if params.select == "largest":
        return face.area
    if params.select == "center":
        return max(0.0, _central(picture)(face) - CENTRAL_TOLERANCE * face.area)
    if params.select == "prominent":
        return COMPARABLE * _prominence(picture)(face)
    return 0.0


def shorter_side(face: Detection, *, across: float = 1.0, down: float = 1.0) -> float:
    """Return the shorter side of a face's box, after scaling."""
    x1, y1, x2, y2 = face.box
    return min((x2 - x1) * across, (y2 - y1) * down)


def share_inside(face: Detection, picture: Picture) -> float:
    """Return the share of a face's box inside the picture, 0-1; 0 for an empty box."""
    x1, y1, x2, y2 = face.box
    high, wide = picture.pixels.shape[:2]
    inside = max(0.0, min(x2, wide) - max(x1, 0.0)) * max(0.0, min(y2, high) - max(y1, 0.0))
    return inside / face.area if face.area else 0.0


def overlap(one_box: Box, other: Box) -> float:
    """Return the intersection over union of two boxes, 0-1."""
    wide = max(0.0, min(one_box[2], other[2]) - max(one_box[0], other[0]))
    high = max(0.0, min(one_box[3], other[3]) - max(one_box[1], other[1]))
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (one_box, other)]
    union = sum(areas) - wide * high
    return wide * high / union if union > 0 else 0.0


def _relative(faces: Sequence[Detection], picture: Picture) -> list[float]:
    """Return the prominence of each face relative to the highest."""
    weigh = _prominence(picture)
    weights = [weigh(face) for face in faces]
    highest = max(weights, default=0.0)
    return [weight / highest if highest else 1.0 for weight in weights]


def _area(face: Detection) -> float:
    return face.area


def _prominence(picture: Picture) -> _Weigh:
    """Weigh a face by its area, reduced with its distance from the picture's center; independent of scale."""
    high, wide = picture.pixels.shape[:2]
    reach = REACH * math.hypot(wide, high)

    def weigh(face: Detection) -> float:
        aside, off = _offset(face, picture)
        return face.area / (1.0 + (aside * aside + off * off) / (reach * reach))

    return weigh


def _central(picture: Picture) -> _Weigh:
    """Weigh like `FaceAnalysis.get(max_num=1)` of InsightFace: area minus twice the squared center distance."""

    def weigh(face: Detection) -> float:
        aside, off = _offset(face, picture)
        return face.area - 2.0 * (aside * aside + off * off)

    return weigh


def _offset(face: Detection, picture: Picture) -> tuple[float, float]:
    """Return the offset from the center of the picture to the center of the face."""
    high, wide = map(int, picture.pixels.shape[:2])
    x1, y1, x2, y2 = face.box
    return (x1 + x2 - wide) / 2, (y1 + y2 - high) / 2

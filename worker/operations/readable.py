"""Says whether a face can be judged for liveness as it is in the picture."""

from typing import Final, Literal

from worker.engine.base import Detection
from worker.engine.five_points import five_point_pose
from worker.images import Picture

Rejection = Literal["cut_by_border", "too_small", "too_oblique"]

LEAST_INSIDE: Final = 0.75
"""Share of the box inside the picture; the InsightFace add-on draws its line at 0.70 of a smaller crop."""
LEAST_WIDTH: Final = 40.0
"""Pixels of the whole image. The model sees 128 for a face in its surroundings: below this, its pixels are made up."""
MOST_YAW: Final = 50.0
"""Degrees, by five points: a profile. A screen at 34 degrees is still told from a face."""


def rejection(picture: Picture, face: Detection) -> Rejection | None:
    """Why a liveness model could not judge this face; None where it can."""
    x1, y1, x2, y2 = face.box
    high, wide = picture.pixels.shape[:2]
    inside = max(0.0, min(x2, wide) - max(x1, 0.0)) * max(0.0, min(y2, high) - max(y1, 0.0))
    if inside < LEAST_INSIDE * face.area:
        return "cut_by_border"
    if (x2 - x1) * picture.scale[0] < LEAST_WIDTH:
        return "too_small"
    return "too_oblique" if abs(five_point_pose(face).yaw) > MOST_YAW else None

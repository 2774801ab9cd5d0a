"""Decide whether a face in a picture can be judged for liveness."""

from typing import Final, Literal

from worker.engine.base import Detection
from worker.engine.five_points import five_point_pose
from worker.images import Picture
from worker.operations.choosing import LEAST_INSIDE, share_inside

Rejection = Literal["cut_by_border", "too_small", "too_oblique"]

LEAST_WIDTH: Final = 40.0
"""Pixels of the whole image. The model input is 128 pixels wide, so a smaller face would be mostly interpolated."""
MOST_YAW: Final = 50.0
"""Degrees, by five points; beyond is a profile. A screen at 34 degrees is still distinguished from a face."""


def rejection(picture: Picture, face: Detection) -> Rejection | None:
    """Return why a liveness model cannot judge this face, or None if it can."""
    x1, _, x2, _ = face.box
    if share_inside(face, picture) < LEAST_INSIDE:
        return "cut_by_border"
    if (x2 - x1) * picture.scale[0] < LEAST_WIDTH:
        return "too_small"
    return "too_oblique" if abs(five_point_pose(face).yaw) > MOST_YAW else None

"""Estimate the head pose from the detector's five points, for packs without a pose model."""

import math
from typing import Final

from worker.engine.base import Detection, HeadPose

NOSE_OUT: Final = 1.9
"""Distance between eyes and mouth divided by how far the nose protrudes from their plane."""
NOSE_UP: Final = 1.4
"""The same for the pitch, which is less precise because noses differ in length."""
LEVEL: Final = 0.60
"""Position of the nose between eyes (0) and mouth (1) in a frontal face."""
ERROR: Final = 10.0
"""Nine of ten of 49 faces are within this of the pose model: 5.3 degrees of yaw, 8.6 of pitch, 5.2 of roll."""


def five_point_pose(face: Detection) -> HeadPose:
    """Return the head pose, from the position of the nose between eyes and mouth. A frontal head is about 0, 0, 0.

    The nose protrudes from the plane of eyes and mouth, so it moves with the sine of the angle. The three constants
    were fitted to the pose model.
    """
    left_eye, right_eye, nose, left_corner, right_corner = face.landmarks
    roll = math.atan2(right_eye[1] - left_eye[1], right_eye[0] - left_eye[0])
    eyes = _between(left_eye, right_eye)
    across, down = _upright(eyes, nose, roll)
    _, height = _upright(eyes, _between(left_corner, right_corner), roll)
    height = max(height, 1e-6)
    return HeadPose(
        pitch=_angle(NOSE_UP * (LEVEL - down / height)),
        yaw=_angle(NOSE_OUT * across / height),
        roll=math.degrees(roll),
        method="five_points",
        error=ERROR,
    )


def _between(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    return (one[0] + other[0]) / 2, (one[1] + other[1]) / 2


def _upright(start: tuple[float, float], end: tuple[float, float], roll: float) -> tuple[float, float]:
    """Return the offset between two points with the roll undone: across and down."""
    x, y = end[0] - start[0], end[1] - start[1]
    return math.cos(roll) * x + math.sin(roll) * y, -math.sin(roll) * x + math.cos(roll) * y


def _angle(sine: float) -> float:
    return math.degrees(math.asin(min(1.0, max(-1.0, sine))))

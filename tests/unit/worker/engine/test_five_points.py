"""Five points say how a head is turned: a little, with the right signs, wherever and however large the face is."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.engine.base import Detection
from worker.engine.five_points import LEVEL, NOSE_OUT, NOSE_UP, five_point_pose


def head(
    *, yaw: float = 0.0, pitch: float = 0.0, roll: float = 0.0, size: float = 100.0, at: tuple[float, float] = (50, 70)
) -> Detection:
    """Eyes and mouth `size` apart, the nose where these angles put it, leaning by the roll about the eyes' middle."""
    nose = (math.sin(math.radians(yaw)) / NOSE_OUT, LEVEL - math.sin(math.radians(pitch)) / NOSE_UP)
    shares = [(-0.5, 0.0), (0.5, 0.0), nose, (-0.4, 1.0), (0.4, 1.0)]
    cos, sin = math.cos(math.radians(roll)), math.sin(math.radians(roll))
    points = tuple((at[0] + size * (cos * x - sin * y), at[1] + size * (sin * x + cos * y)) for x, y in shares)
    return Detection(box=(0.0, 0.0, 1.0, 1.0), landmarks=points, score=0.9)


@given(
    yaw=st.floats(-80, 80),
    pitch=st.floats(-24, 55),
    roll=st.floats(-170, 170),
    size=st.floats(5, 2000),
    at=st.tuples(st.floats(-500, 5000), st.floats(-500, 5000)),
)
def test_the_angles_come_back_wherever_the_face_is(
    yaw: float, pitch: float, roll: float, size: float, at: tuple[float, float]
) -> None:
    pose = five_point_pose(head(yaw=yaw, pitch=pitch, roll=roll, size=size, at=at))
    assert pose[:3] == pytest.approx((pitch, yaw, roll), abs=0.1)


def test_a_mirrored_face_is_turned_the_other_way() -> None:
    face = head(yaw=20, pitch=10, roll=5)
    x = [100 - point[0] for point in face.landmarks]
    y = [point[1] for point in face.landmarks]
    mirrored = Detection(
        box=face.box, landmarks=((x[1], y[1]), (x[0], y[0]), (x[2], y[2]), (x[4], y[4]), (x[3], y[3])), score=0.9
    )
    pose = five_point_pose(mirrored)
    assert (pose.yaw, pose.roll, pose.pitch) == pytest.approx((-20, -5, 10))


@pytest.mark.parametrize("points", [((3.0, 3.0),) * 5, ((0.0, 0.0), (1.0, 0.0), (9.0, 9.0), (0.0, 0.0), (1.0, 0.0))])
def test_points_that_are_not_a_face_still_give_angles(points: tuple[tuple[float, float], ...]) -> None:
    pose = five_point_pose(Detection(box=(0.0, 0.0, 1.0, 1.0), landmarks=points, score=0.5))
    assert all(-180 <= angle <= 180 for angle in pose[:3])


def test_it_says_how_it_was_read_and_how_far_it_may_be_off() -> None:
    pose = five_point_pose(head())
    assert (pose.method, pose.error) == ("five_points", 10.0)

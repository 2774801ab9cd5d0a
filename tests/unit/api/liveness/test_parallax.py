"""A flat picture shows no parallax in any position; a head shows it as soon as it turns."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.liveness.movements import STRAIGHT_PARALLAX, TURN, TURN_PARALLAX
from api.liveness.parallax import motion, nose_offset
from tests.heads import Head, points

tilt = st.floats(-40, 40)
small = st.floats(-8, 8)


@given(
    yaw=st.floats(-60, 60), pitch=tilt, roll=st.floats(-180, 180), distance=st.floats(5, 12), begin=tilt, across=small
)
def test_nose_of_a_moved_picture_stays_in_its_plane(
    yaw: float, pitch: float, roll: float, distance: float, begin: float, across: float
) -> None:
    picture = Head(yaw=begin, depth=0.0, noise=0.0)
    flat = motion(
        points(picture),
        points(picture.posed(yaw=yaw, pitch=pitch, roll=roll, distance=distance, across=across / 10)),
    )
    assert flat is not None
    assert abs(flat.across) < 1e-6
    assert abs(flat.down) < 1e-6


@given(
    turn=st.floats(TURN, 50), side=st.sampled_from([-1, 1]), begin=small, pitch=small, roll=tilt, down=st.floats(-1, 1)
)
def test_nose_of_a_turning_head_leaves_the_plane_to_that_side(
    turn: float, side: int, begin: float, pitch: float, roll: float, down: float
) -> None:
    head = Head(yaw=begin, noise=0.0)
    moved = motion(points(head), points(head.posed(yaw=begin + side * turn, pitch=pitch, roll=roll, down=down)))
    assert moved is not None
    assert moved.across * side > TURN_PARALLAX
    assert math.copysign(1, moved.across) == side


def test_landmark_errors_do_not_turn_a_picture() -> None:
    dice = random.Random(1)  # noqa: S311 - angles
    eyes = math.dist(*points(Head(noise=0.0))[:2])
    seen = []
    for number in range(2000):
        first = Head(depth=0.0, noise=0.015 * eyes, seed=number)
        moved = motion(points(first), points(first.posed(yaw=dice.uniform(-45, 45), pitch=dice.uniform(-25, 25))))
        assert moved is not None
        seen.append(abs(moved.across))
    seen.sort()
    assert seen[int(0.99 * len(seen))] < STRAIGHT_PARALLAX
    assert seen[int(0.999 * len(seen))] < TURN_PARALLAX


@given(roll=st.floats(-180, 180), growth=st.floats(0.5, 2), across=st.floats(-1, 1))
def test_shift_scale_and_roll_are_no_movement(roll: float, growth: float, across: float) -> None:
    before = points(Head(noise=0.0))
    turn = math.radians(roll)
    after = [
        (
            growth * (x * math.cos(turn) - y * math.sin(turn)) + 100 * across,
            growth * (x * math.sin(turn) + y * math.cos(turn)),
        )
        for x, y in before
    ]
    moved = motion(before, after)
    assert moved is not None
    assert [moved.across, moved.down] == pytest.approx([0, 0], abs=1e-6)
    assert [moved.growth, moved.narrowing] == pytest.approx([growth, 1])


def test_looking_up_lifts_the_nose_and_looking_down_lowers_it() -> None:
    head = Head(noise=0.0)
    up, down = (motion(points(head), points(head.posed(pitch=pitch))) for pitch in (20, -20))
    assert up is not None
    assert down is not None
    assert up.down < -0.1
    assert down.down > 0.1


def test_degenerate_landmarks_give_no_movement() -> None:
    whole = points(Head(noise=0.0))
    line = [(float(x), 0.0) for x in range(5)]
    assert motion(whole, line) is None
    assert motion(line, whole) is None
    assert motion(whole, [(1.0, 1.0)] * 5) is None
    assert nose_offset([(1.0, 1.0)] * 5) is None


def test_nose_of_a_straight_face_is_on_the_midline_at_any_roll() -> None:
    assert nose_offset(points(Head(noise=0.0, roll=30))) == pytest.approx(0, abs=0.01)
    to_the_right = nose_offset(points(Head(noise=0.0, yaw=30)))
    assert to_the_right is not None
    assert to_the_right > 0.2

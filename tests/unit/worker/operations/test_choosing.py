"""Which face is meant: policies that hold whatever is in the picture, and at whatever size it was read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.operations import OneFaceParams, Select
from worker.engine.base import Detection
from worker.images import Picture
from worker.operations import choosing

WIDE, HIGH = 400, 300


def face(x: float, y: float, width: float, height: float) -> Detection:
    return Detection(box=(x, y, x + width, y + height), landmarks=((0.0, 0.0),) * 5, score=0.9)


def shot(fraction: int = 1) -> Picture:
    return Picture(np.zeros((HIGH, WIDE, 3), np.uint8), WIDE * fraction, HIGH * fraction)


spots = st.integers(-40, WIDE)
lengths = st.integers(1, WIDE)
crowds = st.lists(st.builds(face, spots, spots, lengths, lengths), max_size=8).map(
    lambda faces: sorted(faces, key=lambda one: -one.area)
)
policies: list[Select] = ["prominent", "all", "largest", "center"]


@given(crowds, st.sampled_from(policies))
def test_what_is_selected_was_there_and_keeps_its_order(faces: list[Detection], select: Select) -> None:
    meant = choosing.selected(faces, shot(), select=select)
    if select == "all":
        assert meant == faces
    elif select == "prominent":
        assert bool(meant) == bool(faces)
        assert meant == [one for one in faces if one in meant]
    else:
        assert len(meant) == min(1, len(faces))
        assert all(one in faces for one in meant)


@given(crowds, st.floats(0, 500), st.integers(1, 8), st.sampled_from([1, 2, 4, 8]))
def test_kept_are_the_first_of_those_that_are_large_enough(
    faces: list[Detection], least: float, most: int, fraction: int
) -> None:
    def shorter(one: Detection) -> float:
        return fraction * min(one.box[2] - one.box[0], one.box[3] - one.box[1])

    kept = choosing.kept(faces, shot(fraction), least_side=least, most=most)
    assert kept == [one for one in faces if shorter(one) >= least][:most]


@given(crowds.filter(bool))
def test_the_largest_is_not_smaller_than_any_other(faces: list[Detection]) -> None:
    [meant] = choosing.selected(faces, shot(), select="largest")
    assert meant.area == max(one.area for one in faces)


@given(crowds.filter(bool))
def test_no_face_is_both_larger_and_more_central_than_the_central_one(faces: list[Detection]) -> None:
    def aside(one: Detection) -> float:
        x1, y1, x2, y2 = one.box
        return float(np.hypot((x1 + x2 - WIDE) / 2, (y1 + y2 - HIGH) / 2))

    [meant] = choosing.selected(faces, shot(), select="center")
    assert not any(one.area > meant.area and aside(one) < aside(meant) for one in faces)


def test_the_central_face_wins_against_a_larger_one_at_the_border() -> None:
    border, middle = face(0, 0, 130, 130), face(140, 90, 120, 120)
    assert choosing.selected([border, middle], shot(), select="center") == [middle]


def test_a_tiny_face_in_the_middle_loses_against_a_large_one_beside_it() -> None:
    large, tiny = face(20, 60, 180, 180), face(195, 145, 10, 10)
    assert choosing.selected([large, tiny], shot(), select="center") == [large]


@given(crowds, st.floats(0, 1))
def test_bystanders_never_count(faces: list[Detection], share: float) -> None:
    chosen = choosing.one(faces, shot(), OneFaceParams(select="all", ignore_below=share))
    assert chosen.count == sum(one.area >= share * faces[0].area for one in faces)
    assert (chosen.face is not None) == (chosen.count == 1)


@pytest.mark.parametrize(("count", "reason"), [(0, "no_face"), (2, "multiple_faces")])
def test_a_reason_is_given_where_no_face_is_meant(count: int, reason: str) -> None:
    assert choosing.one([face(0, 0, 9, 9)] * count, shot(), OneFaceParams()).reason == reason


def test_a_smaller_face_at_the_side_is_listed_but_does_not_refuse() -> None:
    person, bystander = face(140, 90, 120, 120), face(10, 60, 90, 90)
    chosen = choosing.one([person, bystander], shot(), OneFaceParams())
    assert (chosen.face, chosen.count, chosen.candidates) == (person, 2, 1)
    [other] = chosen.others
    assert (other.face, other.reason) == (bystander, "less_prominent")
    assert 0 < other.prominence < choosing.COMPARABLE


def test_two_comparable_faces_refuse_and_both_are_listed() -> None:
    chosen = choosing.one([face(60, 90, 120, 120), face(220, 90, 110, 110)], shot(), OneFaceParams())
    assert (chosen.face, chosen.reason, chosen.candidates) == (None, "multiple_faces", 2)
    assert [other.reason for other in chosen.others] == ["comparable", "comparable"]


def test_a_larger_face_mostly_outside_the_picture_does_not_count() -> None:
    outside, person = face(-80, 60, 180, 180), face(200, 90, 110, 110)
    chosen = choosing.one([outside, person], shot(), OneFaceParams())
    assert (chosen.face, chosen.count) == (person, 1)
    assert [other.reason for other in chosen.others] == ["outside"]


def test_a_face_mostly_outside_the_picture_counts_if_there_is_no_other() -> None:
    alone = face(-80, 60, 180, 180)
    assert choosing.one([alone], shot(), OneFaceParams()).face == alone


def test_faces_below_the_limit_are_listed_as_small() -> None:
    person, tiny = face(140, 90, 120, 120), face(200, 20, 20, 20)
    chosen = choosing.one([person, tiny], shot(), OneFaceParams())
    assert (chosen.face, chosen.count, [other.reason for other in chosen.others]) == (person, 1, ["small"])


@given(crowds, st.sampled_from(policies))
def test_every_face_is_either_chosen_or_listed(faces: list[Detection], select: Select) -> None:
    chosen = choosing.one(faces, shot(), OneFaceParams(select=select))
    assert len(chosen.others) + (chosen.face is not None) == len(faces)
    assert sorted((other.prominence for other in chosen.others), reverse=True) == [
        other.prominence for other in chosen.others
    ]
    assert (chosen.face is None) == (chosen.candidates != 1)


@given(crowds.filter(bool), st.sampled_from([2, 4, 8]))
def test_prominence_does_not_depend_on_the_scale(faces: list[Detection], factor: int) -> None:
    larger = [
        Detection(box=tuple(side * factor for side in one.box), landmarks=one.landmarks, score=one.score)  # type: ignore[arg-type]
        for one in faces
    ]
    picture = Picture(np.zeros((HIGH * factor, WIDE * factor, 3), np.uint8), WIDE * factor, HIGH * factor)
    before = choosing.one(faces, shot(), OneFaceParams())
    after = choosing.one(larger, picture, OneFaceParams())
    assert (before.count, before.candidates) == (after.count, after.candidates)

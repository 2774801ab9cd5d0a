"""The liveness state machine: a cooperative person passes, and each kind of fraud fails with its reason."""

import json
import random
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from api.liveness.challenge import draw_challenge, is_repeat, memory_of, progress_of, refusal
from shared.faces import Face, Recognisability
from shared.liveness_sessions import TURNS, FrameInWork, Reason, SessionStatus, Step
from shared.results import FrameResult
from tests.heads import Head, result, vector
from tests.unit.api.performing import POSES, Performance, ended, honest, session

MOVEMENTS = (Step.TURN_LEFT, Step.TURN_RIGHT, Step.LOOK_UP, Step.COME_CLOSER, Step.BLINK)
PASSED = (SessionStatus.PASSED, None)
CLEAR = Recognisability(recognisable=True, score=0.95)
DARK = Recognisability(recognisable=False, score=0.2, reasons=["degraded"], advice="Find better light.")
challenges = st.builds(
    lambda seed, number: draw_challenge(MOVEMENTS, number, rng=random.Random(seed))[1:-1],  # noqa: S311 - a test's dice
    st.integers(0, 10_000),
    st.integers(1, 6),
)


def failed(reason: Reason) -> tuple[SessionStatus, Reason]:
    return SessionStatus.FAILED, reason


def begun(*steps: Step, head: Head | None = None) -> tuple[Performance, Head]:
    """A session that has completed its first straight look."""
    performance, head = Performance(session(*steps)), head or Head()
    performance.show(result(head))
    assert performance.shown == [Step.LOOK_STRAIGHT]
    return performance, head


def without_liveness(seen: FrameResult) -> FrameResult:
    assert seen.face is not None
    return seen.model_copy(update={"face": seen.face.model_copy(update={"liveness": None})})


# --- who passes ---------------------------------------------------------------------------------------------------


@given(steps=challenges, person=st.integers(0, 50), distance=st.floats(7.5, 9), yaw=st.floats(-8, 8))
def test_cooperative_person_passes_every_challenge(
    steps: tuple[Step, ...], person: int, distance: float, yaw: float
) -> None:
    performance = Performance(session(*steps))
    performance.show_all(honest(performance.session.steps, Head(person=person, distance=distance, yaw=yaw)))
    assert ended(performance) == PASSED
    assert performance.shown == list(performance.session.steps)


@given(steps=challenges)
def test_pack_without_pose_model_uses_the_landmarks(steps: tuple[Step, ...]) -> None:
    assume(Step.BLINK not in steps)
    performance = Performance(session(*steps))
    performance.show_all(honest(performance.session.steps, Head(noise=0.1), posed=False))
    assert ended(performance) == PASSED


def test_each_step_has_its_evidence_with_limits() -> None:
    performance = Performance(session(Step.TURN_LEFT))
    performance.show_all(honest(performance.session.steps, Head()))
    first, turn, last = progress_of(performance.session).done
    assert [each.name for each in first.evidence] == ["yaw", "pitch", "nose_offset", "liveness"]
    assert [(each.name, each.limit) for each in turn.evidence] == [
        ("yaw", ">= 25"),
        ("parallax", ">= 0.12"),
        ("similarity", "> 0.35"),
    ]
    assert {each.name for each in last.evidence} == {"yaw", "pitch", "parallax", "growth", "liveness", "similarity"}
    assert all(each.passed for one in (first, turn, last) for each in one.evidence)


def test_no_biometric_data_is_kept() -> None:
    performance = Performance(session(Step.TURN_LEFT))
    performance.show_all(honest(performance.session.steps, Head()))
    kept = performance.session.progress
    assert performance.session.memory == ""
    assert all(f"{number:.6f}"[:8] not in kept for number in vector(0, 1))
    assert not {"vector", "points", "anchor"} & set(json.loads(kept))


# --- what is no head ----------------------------------------------------------------------------------------------


@given(
    data=st.lists(
        st.tuples(
            st.floats(-55, 55), st.floats(-35, 35), st.floats(-30, 30), st.floats(4, 10), st.floats(-60, 60),
        ),
        min_size=1, max_size=40,
    ),
    steps=challenges,
)  # fmt: skip
def test_photo_never_passes_in_any_position_or_pose_reading(
    data: list[tuple[float, float, float, float, float]], steps: tuple[Step, ...]
) -> None:
    performance = Performance(session(*steps))
    photo = Head(depth=0.0)
    performance.show(result(photo))
    for yaw, pitch, roll, distance, looks in data:
        photo = photo.posed(yaw=yaw, pitch=pitch, roll=roll, distance=distance, looks=looks)
        if performance.session.status is SessionStatus.RUNNING:
            performance.show(result(photo))
    assert performance.session.status is not SessionStatus.PASSED
    assert not set(performance.shown) & set(TURNS)


@pytest.mark.parametrize("looks", [None, 3.0, 40.0])
def test_photo_turned_by_hand_fails_as_flat(looks: float | None) -> None:
    performance, photo = begun(Step.TURN_LEFT, head=Head(depth=0.0))
    for yaw in (15, 30, 45, 50, 52):
        photo = photo.posed(yaw=float(yaw), across=yaw / 100)
        photo = replace(photo, looks=looks)
        if performance.session.status is SessionStatus.RUNNING:
            performance.show(result(photo))
    assert ended(performance) == failed(Reason.FLAT_FACE)
    (parallax,) = progress_of(performance.session).refused
    assert (parallax.name, parallax.limit, parallax.passed) == ("parallax", ">= 0.12", False)


def test_photo_held_still_never_advances() -> None:
    performance, photo = begun(Step.TURN_LEFT, head=Head(depth=0.0))
    for _ in range(20):
        photo = photo.posed()
        performance.show(result(photo))
    assert performance.session.status is SessionStatus.RUNNING  # until its step times out
    assert performance.shown == [Step.LOOK_STRAIGHT]


def test_frozen_image_fails_as_still() -> None:
    performance, head = begun(Step.TURN_LEFT)
    for _ in range(4):
        performance.show(result(head))
    assert ended(performance) == failed(Reason.STILL_PICTURE)


def test_print_detected_by_the_passive_model_fails_as_not_live() -> None:
    performance = Performance(session(Step.TURN_LEFT))
    head = Head(live=0.1)
    for _ in range(3):
        head = head.posed()
        performance.show(result(head))
    assert ended(performance) == failed(Reason.NOT_LIVE)
    assert [each.name for each in progress_of(performance.session).refused] == ["liveness"]


def test_last_straight_look_must_be_live() -> None:
    performance, head = begun(Step.TURN_LEFT)
    performance.show(result(head := head.posed(yaw=35.0)))
    assert performance.shown == [Step.LOOK_STRAIGHT, Step.TURN_LEFT]
    for _ in range(3):
        performance.show(result(head := head.posed(yaw=0.5 * performance.sequence, live=0.1)))
    assert ended(performance) == failed(Reason.NOT_LIVE)


def test_uncertain_liveness_completes_no_step() -> None:
    performance = Performance(session(Step.TURN_LEFT))
    head = Head(live=0.4)
    for _ in range(10):
        performance.show(result(head := head.posed()))
    assert (performance.shown, progress_of(performance.session).hint) == ([], "better_light")


def test_face_without_a_liveness_reading_completes_no_step() -> None:
    performance, head = Performance(session(Step.TURN_LEFT)), Head()
    for _ in range(5):
        performance.show(without_liveness(result(head := head.posed())))
    assert (performance.shown, progress_of(performance.session).hint) == ([], "too_close")


# --- who, when, in which order ------------------------------------------------------------------------------------


def test_replayed_frame_fails_even_if_saved_again() -> None:
    performance, head = begun(Step.TURN_LEFT, Step.TURN_RIGHT)
    first = result(head)
    performance.show(result(head.posed(yaw=35.0)))
    assert first.face is not None
    again: Face = first.face.model_copy(update={"landmarks": [(x + 0.05, y - 0.05) for x, y in first.face.landmarks]})
    performance.show(first.model_copy(update={"face": again}))
    assert ended(performance) == failed(Reason.REPLAYED_FRAME)


@pytest.mark.parametrize("yaw", [0.0, 35.0])
def test_swapped_person_fails_and_completes_no_step(yaw: float) -> None:
    performance, head = begun(Step.TURN_LEFT)
    performance.show(result(other := head.posed(person=1, yaw=yaw)))
    assert performance.shown == [Step.LOOK_STRAIGHT]
    performance.show(result(other.posed()))
    assert ended(performance) == failed(Reason.ANOTHER_PERSON)
    (similarity,) = progress_of(performance.session).refused
    assert (similarity.name, similarity.limit) == ("similarity", "> 0.35")


@pytest.mark.parametrize("asked", [Step.TURN_LEFT, Step.TURN_RIGHT, Step.LOOK_UP, Step.COME_CLOSER, Step.BLINK])
@pytest.mark.parametrize("done", [Step.TURN_LEFT, Step.TURN_RIGHT, Step.LOOK_UP])
def test_wrong_movement_fails(asked: Step, done: Step) -> None:
    performance, head = begun(asked, Step.TURN_LEFT if asked is not Step.TURN_LEFT else Step.TURN_RIGHT)
    performance.show(result(head.posed(**POSES[done])))
    if asked is done:
        assert performance.shown == [Step.LOOK_STRAIGHT, asked]
    else:
        assert ended(performance) == failed(Reason.WRONG_STEP)


def test_held_movement_does_not_count_as_the_next_one() -> None:
    performance, head = begun(Step.TURN_LEFT, Step.TURN_RIGHT)
    performance.show(result(head := head.posed(yaw=35.0)))
    performance.show(result(head := head.posed(yaw=36.0)))
    performance.show(result(head := head.posed(yaw=-35.0)))
    assert performance.shown == [Step.LOOK_STRAIGHT, Step.TURN_LEFT], "not from a face that looked straight"
    performance.show(result(head := head.posed(yaw=1.0)))
    performance.show(result(head := head.posed(yaw=-35.0)))
    assert performance.shown == [Step.LOOK_STRAIGHT, Step.TURN_LEFT, Step.TURN_RIGHT]


def test_single_frame_with_shut_eyes_is_not_a_blink() -> None:
    performance, head = begun(Step.BLINK, Step.TURN_LEFT)
    performance.show(result(head := head.posed(eyes=0.1)))
    performance.show(result(head := head.posed(eyes=0.9)))
    assert performance.shown == [Step.LOOK_STRAIGHT], "they were never seen open before"
    performance.show(result(head := head.posed(eyes=0.1)))
    performance.show(result(head := head.posed(eyes=0.9)))
    assert performance.shown == [Step.LOOK_STRAIGHT, Step.BLINK]


def test_frame_taken_long_before_arrival_is_late() -> None:
    performance, head = begun(Step.TURN_LEFT)
    performance.show(result(head := head.posed()), lag=4.0)
    assert performance.session.status is SessionStatus.RUNNING
    performance.show(result(head.posed()), lag=6.0)
    assert ended(performance) == failed(Reason.LATE_FRAME)


def test_a_client_whose_clock_runs_ahead_is_out_of_order() -> None:
    performance, head = begun(Step.TURN_LEFT)
    performance.show(result(head.posed()), lag=-6.0)
    assert ended(performance) == failed(Reason.OUT_OF_ORDER)


@given(sequence=st.integers(0, 10), taken_at=st.floats(0, 200), digest=st.sampled_from(["d1", "d2", "new"]))
def test_replayed_or_out_of_order_frame_is_refused_before_analysis(sequence: int, taken_at: float, digest: str) -> None:
    performance, head = begun(Step.TURN_LEFT)
    performance.show(result(head.posed()))
    memory = memory_of(performance.session)
    reason = refusal(performance.session, digest=digest, sequence=sequence, taken_at=taken_at)
    if digest == "d1":
        assert reason is Reason.REPLAYED_FRAME
    elif sequence <= 2 or taken_at <= memory.taken_at:
        assert reason is Reason.OUT_OF_ORDER
    else:
        assert reason is None


def test_last_frame_sent_twice_is_one_request() -> None:
    performance, _ = begun(Step.TURN_LEFT)
    assert is_repeat(performance.session, digest="d1", sequence=1)
    assert not is_repeat(performance.session, digest="d1", sequence=2)
    assert not is_repeat(performance.session, digest="d2", sequence=1)
    held = replace(performance.session, frame=FrameInWork("job", "d2", 2, 0.0, 0.0))
    assert is_repeat(held, digest="d2", sequence=2)
    assert not is_repeat(held, digest="d1", sequence=1)


# --- unreadable frames --------------------------------------------------------------------------------------------


def test_several_faces_fail_only_in_consecutive_frames() -> None:
    performance, head = begun(Step.TURN_LEFT)
    for _ in range(2):
        performance.show(result(head, faces=2))
    performance.show(result(head := head.posed()))
    for _ in range(3):
        performance.show(result(head, faces=2))
    assert ended(performance) == failed(Reason.SEVERAL_FACES)


def test_face_that_disappears_for_too_long_fails() -> None:
    waiting = Performance(session(Step.TURN_LEFT))
    for _ in range(20):
        waiting.show(result(None))
    assert (waiting.session.status, progress_of(waiting.session).hint) == (SessionStatus.RUNNING, "no_face")
    performance, _ = begun(Step.TURN_LEFT)
    for _ in range(5):
        assert performance.show(result(None)).status is SessionStatus.RUNNING
    performance.show(result(None))
    assert ended(performance) == failed(Reason.NO_FACE)


def test_consecutive_failed_analyses_fail_the_session() -> None:
    performance, head = begun(Step.TURN_LEFT)
    performance.show(None)
    performance.show(None)
    performance.show(result(head.posed()))
    for _ in range(3):
        performance.show(None)
    assert ended(performance) == failed(Reason.NOT_ANALYZED)


def test_consecutive_unrecognizable_faces_fail_the_session() -> None:
    performance, head = begun(Step.TURN_LEFT)
    for _ in range(19):
        performance.show(result(head := head.posed(), recognisability=DARK))
    assert progress_of(performance.session).hint == "not_recognisable"
    performance.show(result(head := head.posed(), recognisability=CLEAR))
    for _ in range(19):
        performance.show(result(head := head.posed(), recognisability=DARK))
    assert performance.session.status is SessionStatus.RUNNING
    performance.show(result(head.posed(), recognisability=DARK))
    assert ended(performance) == failed(Reason.NOT_RECOGNISABLE)
    [refused] = progress_of(performance.session).refused
    assert (refused.name, refused.value, refused.limit) == ("recognisability", 0.2, "not degraded")


@pytest.mark.parametrize("turned", [False, True])
def test_unrecognizable_face_is_neither_anchor_nor_step(*, turned: bool) -> None:
    performance = Performance(session(Step.TURN_LEFT))
    head = Head()
    if turned:
        performance.show(result(head))
        head = head.posed(yaw=35.0)
    performance.show(result(head, recognisability=DARK))
    assert performance.shown == ([Step.LOOK_STRAIGHT] if turned else [])
    performance.show(result(head.posed(), recognisability=CLEAR))
    assert len(performance.shown) == (2 if turned else 1)


def test_blurred_frame_is_not_reported_as_another_person() -> None:
    performance, head = begun(Step.TURN_LEFT)
    for _ in range(3):
        performance.show(result(head := head.posed(person=7), recognisability=DARK))
    assert performance.session.status is SessionStatus.RUNNING


@pytest.mark.parametrize(
    ("head", "hint"),
    [
        (Head(yaw=40.0), "look_straight"),
        (Head(distance=30.0), "too_far"),
        (Head(distance=3.5), "too_close"),
    ],
)
def test_first_frame_must_be_suitable_for_comparison(head: Head, hint: str) -> None:
    performance = Performance(session(Step.TURN_LEFT, Step.COME_CLOSER))
    performance.show(result(head))
    assert (performance.shown, progress_of(performance.session).hint) == ([], hint)


# --- the reference ------------------------------------------------------------------------------------------------


# --- the challenge ------------------------------------------------------------------------------------------------


@given(
    kinds=st.sets(st.sampled_from(MOVEMENTS), min_size=2).filter(lambda kinds: bool(kinds & set(TURNS))),
    number=st.integers(1, 6),
    seed=st.integers(),
)
def test_challenge_has_a_turn_and_no_repeated_movement(kinds: set[Step], number: int, seed: int) -> None:
    steps = draw_challenge(tuple(sorted(kinds)), number, rng=random.Random(seed))  # noqa: S311 - a test's dice
    assert len(steps) == number + 2
    assert steps[0] is steps[-1] is Step.LOOK_STRAIGHT
    assert set(steps[1:-1]) <= kinds
    assert set(steps) & set(TURNS)
    assert all(one is not other for one, other in pairwise(steps))


def test_challenges_differ() -> None:
    seen = {draw_challenge(MOVEMENTS, 3, rng=random.Random(seed)) for seed in range(300)}  # noqa: S311 - a test's dice
    assert len(seen) > 50

"""The decision of a verification: which combinations match, which do not, and which say nothing."""

from typing import get_args

from hypothesis import given
from hypothesis import strategies as st

from shared.faces import Liveness
from shared.results import VerifyReason
from worker.operations.decision import ADVICE, Obstacle, decide

OBSTACLES = st.lists(st.sampled_from(get_args(Obstacle)), unique=True, max_size=3)
READINGS = st.none() | st.builds(
    Liveness,
    outcome=st.sampled_from(["live", "spoof", "uncertain", "not_evaluated", "input_rejected"]),
    reason=st.none() | st.sampled_from(["too_small", "cut_by_border", "unheard of"]),
)


@given(OBSTACLES, st.booleans(), READINGS)
def test_a_match_has_no_reason_and_everything_else_has_one_with_advice(
    obstacles: list[Obstacle], similar: bool, liveness: Liveness | None
) -> None:
    decision, reasons, advice = decide(obstacles, similar=similar, liveness=liveness)
    assert (decision == "match") == (reasons == []) == (advice is None)
    assert len(set(reasons)) == len(reasons)


@given(OBSTACLES, st.booleans(), READINGS)
def test_only_a_similar_comparable_and_live_face_matches(
    obstacles: list[Obstacle], similar: bool, liveness: Liveness | None
) -> None:
    decision, _, _ = decide(obstacles, similar=similar, liveness=liveness)
    live = liveness is None or liveness.outcome == "live"
    assert (decision == "match") == (not obstacles and similar and live)


@given(OBSTACLES.filter(bool), st.booleans(), READINGS)
def test_with_nothing_to_compare_the_decision_is_inconclusive(
    obstacles: list[Obstacle], similar: bool, liveness: Liveness | None
) -> None:
    decision, reasons, _ = decide(obstacles, similar=similar, liveness=liveness)
    assert (decision, reasons[: len(obstacles)]) == ("inconclusive", obstacles)
    assert "below_threshold" not in reasons


def test_advice_about_the_first_obstacle_may_be_more_precise() -> None:
    assert decide(["unrecognisable"], similar=True, liveness=None, advice="Turn it.").advice == "Turn it."


def test_every_reason_has_advice() -> None:
    assert set(ADVICE) == set(get_args(VerifyReason))

"""The recognisability measure: pure numbers, without a model."""

import numpy as np
import pytest

from worker.packs.recognisability import UNMEASURED, Measure, score

LIMITS = Measure(centroids=((1.0, 0.0), (0.0, -1.0)), max_similarity=0.3, min_length=2.3, max_roll=40.0)


def vector(degrees: float, length: float = 3.0) -> np.ndarray:
    angle = np.radians(degrees)
    return length * np.array([[np.cos(angle), np.sin(angle)]])


def test_a_face_away_from_every_centroid_is_recognisable() -> None:
    [verdict] = LIMITS.judge(vector(120), [0.0])
    assert (verdict.recognisable, verdict.reasons, verdict.score, verdict.advice) == (True, [], 1.0, None)


@pytest.mark.parametrize("degrees", [0, 60, -30, -120])
def test_a_face_near_any_centroid_is_degraded(degrees: float) -> None:
    [verdict] = LIMITS.judge(vector(degrees), [0.0])
    assert (verdict.recognisable, verdict.reasons) == (False, ["degraded"])
    assert verdict.score is not None
    assert verdict.score < 0.7


@pytest.mark.parametrize(
    ("length", "roll", "reasons"), [(2.29, 0.0, ["weak"]), (3.0, 40.1, ["rotated"]), (2.0, -90.0, ["weak", "rotated"])]
)
def test_length_and_roll_have_limits_of_their_own(length: float, roll: float, reasons: list[str]) -> None:
    [verdict] = LIMITS.judge(vector(120, length), [roll])
    assert (verdict.recognisable, verdict.reasons) == (False, reasons)
    assert verdict.advice


def test_one_centroid_may_be_held_to_a_stricter_limit() -> None:
    plain = Measure(centroids=((1.0, 0.0), (0.0, 1.0)), max_similarity=0.3)
    stricter = Measure(centroids=plain.centroids, stricter=(0.0, 0.1), max_similarity=0.3)
    [loose], [tight] = plain.judge(vector(165), [0.0]), stricter.judge(vector(165), [0.0])
    assert (loose.recognisable, tight.recognisable) == (True, False)
    assert (loose.score, tight.score) == (0.7412, 0.6412)


def test_values_at_the_limits_pass() -> None:
    [verdict] = LIMITS.judge(vector(120, 2.3 + 1e-12), [-40.0])
    assert verdict.recognisable


def test_length_of_the_vector_does_not_change_its_similarity() -> None:
    assert LIMITS.similarities(vector(60, 1.0)) == pytest.approx(LIMITS.similarities(vector(60, 20.0)))


def test_without_a_measure_every_face_counts_and_has_no_score() -> None:
    [verdict] = UNMEASURED.judge(vector(0, 0.1), [180.0])
    assert (verdict.recognisable, verdict.score, verdict.reasons) == (True, None, [])


def test_the_limits_are_readable_text() -> None:
    assert LIMITS.limits == "score >= 0.7, length >= 2.3, roll -40..40"
    assert Measure(max_roll=40.0).limits == "roll -40..40"
    assert UNMEASURED.limits is None


def test_no_embeddings_give_no_verdicts() -> None:
    assert LIMITS.judge(np.empty((0, 2)), []) == []


@pytest.mark.parametrize(("similarity", "expected"), [(-0.5, 1.0), (0.0, 1.0), (0.3, 0.7), (1.0, 0.0), (1.0001, 0.0)])
def test_the_score_is_one_less_the_similarity(similarity: float, expected: float) -> None:
    assert score(similarity) == expected

"""Error rates over thresholds, with answers that can be counted by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import SettingsError
from worker.evaluation.rates import Scores, points, table

TEN = Scores(
    genuine=np.array([0.9, 0.8, 0.7, 0.6, 0.3], np.float32),
    impostor=np.array([0.0, 0.1, 0.2, 0.4, 0.65], np.float32),
)


def uniform(impostors: int) -> Scores:
    """Impostors spread evenly over 0..1: the false-match rate of a threshold is 1 - threshold."""
    return Scores(np.full(50, 0.9995, np.float32), np.linspace(0, 1, impostors, endpoint=False, dtype=np.float32))


def test_a_similarity_at_the_threshold_is_no_match() -> None:
    assert (TEN.fmr(0.4).errors, TEN.fmr(0.39).errors) == (1, 2)
    assert (TEN.fnmr(0.3).errors, TEN.fnmr(0.29).errors) == (1, 0)


@pytest.mark.parametrize(
    ("threshold", "false", "missed"), [(-1.0, 5, 0), (0.15, 3, 0), (0.5, 1, 1), (0.65, 0, 2), (1.0, 0, 5)]
)
def test_rates_are_counted_on_both_sides(threshold: float, false: int, missed: int) -> None:
    assert (TEN.fmr(threshold).errors, TEN.fnmr(threshold).errors) == (false, missed)
    assert (TEN.fmr(threshold).trials, TEN.fnmr(threshold).trials) == (5, 5)


def test_the_equal_error_rate_is_where_both_rates_meet() -> None:
    rate, threshold = TEN.equal
    assert rate == pytest.approx(0.2)
    assert 0.4 <= threshold < 0.6


def test_perfectly_separated_pairs_have_an_equal_error_rate_of_zero() -> None:
    assert Scores(np.array([0.6, 0.7], np.float32), np.array([0.1, 0.2], np.float32)).equal[0] == 0


@pytest.mark.parametrize(("fmr", "threshold"), [(0.1, 0.9), (0.01, 0.99), (0.001, 0.999)])
def test_the_threshold_of_a_rate_is_the_lowest_that_keeps_it(fmr: float, threshold: float) -> None:
    scores = uniform(100_000)
    assert scores.threshold_for(fmr) == pytest.approx(threshold, abs=2e-4)
    assert scores.fmr(scores.threshold_for(fmr)).share <= fmr


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=200), st.floats(1e-3, 0.99))
def test_no_threshold_lets_more_through_than_its_rate(similarities: list[float], fmr: float) -> None:
    scores = Scores(np.ones(1, np.float32), np.array(similarities, np.float32))
    threshold = scores.threshold_for(fmr)
    assert scores.fmr(threshold).share <= fmr
    assert threshold == -1 or threshold - 1.1e-4 < max(similarities)


@pytest.mark.parametrize("both", [([], [0.1]), ([0.1], [])])
def test_rates_need_pairs_of_both_kinds(both: tuple[list[float], list[float]]) -> None:
    with pytest.raises(SettingsError, match="both kinds are needed"):
        Scores(*(np.array(values, np.float32) for values in both))


def test_a_table_names_only_rates_with_thirty_false_matches() -> None:
    assert [point.fmr for point in points(uniform(29_999).impostors)] == [0.1, 0.01]
    assert [point.fmr for point in points(uniform(30_000).impostors)] == [0.1, 0.01, 0.001]


def test_too_few_pairs_make_no_table() -> None:
    assert table(uniform(2_999), contract="c", source="made up") is None
    made = table(uniform(3_000), contract="c", source="made up")
    assert made is not None
    assert (made.impostor_pairs, made.threshold_for(0.01)) == (3_000, made.points[1].threshold)


def test_rates_with_one_threshold_are_one_point() -> None:
    scores = Scores(np.ones(3, np.float32), np.full(40_000, 0.2, np.float32))
    assert len(points(scores.impostors)) == 1

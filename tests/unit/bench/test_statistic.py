"""Ratios are of medians, their spread is of neighbours, and a percentile is a sample."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.statistic import Ratio, percentile, ratio

SECONDS = st.floats(0.001, 1e6)


@given(samples=st.lists(st.floats(0, 1e6), min_size=1, max_size=300), share=st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_a_sample_that_enough_of_them_do_not_exceed(samples: list[float], share: float) -> None:
    found = percentile(samples, share)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= share * len(samples) - 1e-9
    assert sum(sample < found for sample in samples) < share * len(samples)


def test_no_samples_have_no_percentile_and_no_ratio() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.99)
    with pytest.raises(ValueError, match="no samples"):
        ratio([], [])


def test_one_slow_round_does_not_move_a_ratio_but_shows_in_its_spread() -> None:
    assert ratio([10.0, 10.0, 40.0], [5.0, 5.0, 5.0]) == Ratio(2.0, 2.0, 8.0)


def test_rounds_that_were_not_taken_in_turns_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        ratio([1.0], [1.0, 2.0])


@given(pairs=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=30))
def test_a_machine_that_is_slower_for_the_whole_run_changes_no_ratio(pairs: list[tuple[float, float]]) -> None:
    above, below = zip(*pairs, strict=True)
    slower = ratio([3 * value for value in above], [3 * value for value in below])
    assert slower.value == pytest.approx(ratio(above, below).value)


@given(pairs=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=30))
def test_the_spread_goes_from_the_least_round_to_the_most(pairs: list[tuple[float, float]]) -> None:
    above, below = zip(*pairs, strict=True)
    found = ratio(above, below)
    rounds = [high / low for high, low in pairs]
    assert (found.least, found.most) == (min(rounds), max(rounds))

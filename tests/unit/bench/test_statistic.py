"""Ratios compare medians, their range is that of single rounds, and a percentile is a sample."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.statistic import Ratio, percentile, ratio

SECONDS = st.floats(0.001, 1e6)


@given(samples=st.lists(st.floats(0, 1e6), min_size=1, max_size=300), share=st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_percentile_is_the_smallest_sufficient_sample(samples: list[float], share: float) -> None:
    value = percentile(samples, share)
    assert value in samples
    assert sum(sample <= value for sample in samples) >= share * len(samples) - 1e-9
    assert sum(sample < value for sample in samples) < share * len(samples)


def test_percentile_and_ratio_of_no_samples_raise() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.99)
    with pytest.raises(ValueError, match="no samples"):
        ratio([], [])


def test_one_slow_round_changes_only_the_range() -> None:
    assert ratio([10.0, 10.0, 40.0], [5.0, 5.0, 5.0]) == Ratio(2.0, 2.0, 8.0)


def test_ratio_of_unequal_sample_counts_raises() -> None:
    with pytest.raises(ValueError, match="argument 2 is longer"):
        ratio([1.0], [1.0, 2.0])


@given(pairs=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=30))
def test_uniformly_slower_machine_does_not_change_the_ratio(pairs: list[tuple[float, float]]) -> None:
    above, below = zip(*pairs, strict=True)
    slower = ratio([3 * value for value in above], [3 * value for value in below])
    assert slower.value == pytest.approx(ratio(above, below).value)


@given(pairs=st.lists(st.tuples(SECONDS, SECONDS), min_size=1, max_size=30))
def test_range_is_minimum_and_maximum_of_the_rounds(pairs: list[tuple[float, float]]) -> None:
    above, below = zip(*pairs, strict=True)
    result = ratio(above, below)
    rounds = [high / low for high, low in pairs]
    assert (result.least, result.most) == (min(rounds), max(rounds))

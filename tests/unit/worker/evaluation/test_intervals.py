"""Intervals of counted rates, against values that are published or follow from the definition."""

import math

import pytest

from worker.evaluation.intervals import Rate, pairs_needed


@pytest.mark.parametrize(
    ("errors", "trials", "low", "high"),
    [
        (5, 10, 0.2366, 0.7634),
        (1, 10, 0.0179, 0.4042),
        (81, 263, 0.2553, 0.3662),  # Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),  # the same
    ],
)
def test_with_errors_it_is_wilsons(errors: int, trials: int, low: float, high: float) -> None:
    assert Rate(errors, trials).interval == pytest.approx((low, high), abs=5e-5)


def test_without_an_error_it_is_the_rule_of_three() -> None:
    assert Rate(0, 300).interval == (0.0, 0.01)
    assert Rate(0, 2).interval == (0.0, 1.0)
    assert Rate(300, 300).interval == (0.99, 1.0)


def test_without_a_trial_nothing_is_known() -> None:
    assert Rate(0, 0).interval == (0.0, 1.0)
    assert math.isnan(Rate(0, 0).share)


def test_a_rate_says_what_it_was_counted_from() -> None:
    assert str(Rate(5, 10)) == "0.5 [0.24, 0.76] (5 of 10)"


@pytest.mark.parametrize(("rate", "pairs"), [(0.1, 300), (1e-3, 30_000), (1e-6, 30_000_000)])
def test_a_rate_needs_thirty_errors(rate: float, pairs: int) -> None:
    assert pairs_needed(rate) == pairs

"""What grows is told from what is flat, whatever a few samples say."""

import random

import pytest

from tests.soak.trend import MOST, Limit, slope, thinned, trend

TIGHT = Limit(share=0.05, beside=0.0)


def noisy(per_second: float, *, wild: float = 0.0, count: int = 300) -> list[tuple[float, float]]:
    chance = random.Random(1)  # noqa: S311 - noise that is the same each time
    samples = []
    for second in range(count):
        value = 100 + per_second * second + chance.gauss(0, 2)
        samples.append((float(second), value * 5 if chance.random() < wild else value))
    return samples


def test_noise_alone_is_flat() -> None:
    assert trend("memory", "MB", noisy(0.0), TIGHT).flat


def test_a_slow_leak_is_found_in_noise_larger_than_what_leaks_in_a_second() -> None:
    found = trend("memory", "MB", noisy(0.05), TIGHT)
    assert not found.flat
    assert found.growth == pytest.approx(0.05 * 299, rel=0.2)
    assert found.last > found.first


def test_a_fifth_of_wild_samples_neither_hides_a_leak_nor_makes_one() -> None:
    assert trend("latency", "ms", noisy(0.0, wild=0.2), TIGHT).flat
    assert not trend("latency", "ms", noisy(0.1, wild=0.2), TIGHT).flat


def test_what_shrinks_is_flat() -> None:
    assert trend("memory", "MB", noisy(-1.0), TIGHT).flat


def test_a_straight_line_has_its_slope() -> None:
    assert slope([(0.0, 1.0), (1.0, 3.0), (2.0, 5.0)]) == 2.0


def test_a_limit_has_a_share_and_something_beside_it() -> None:
    assert Limit(share=0.1, beside=3).of(100) == 13


def test_many_samples_are_joined_to_few() -> None:
    joined = thinned(noisy(0.0, count=1801))
    assert len(joined) <= MOST
    assert joined[0][0] < 10
    assert joined[-1][0] > 1790


def test_few_samples_say_nothing() -> None:
    with pytest.raises(ValueError, match="9 samples"):
        trend("keys", "", noisy(0.0, count=9), TIGHT)

"""Decides whether something grows: compares a slope, which a few wild samples do not move, with a stated limit."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

Sample = tuple[float, float]
"""Seconds, and the value measured then."""
MOST: Final = 200
"""Maximum number of samples to compare; beyond it, neighbors are replaced by their median."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The growth that still counts as flat: a share of the median plus a constant."""

    share: float
    beside: float

    def of(self, middle: float) -> float:
        """The growth that is allowed over the whole run."""
        return self.share * middle + self.beside


@dataclass(frozen=True, slots=True)
class Trend:
    """The trend of one series."""

    name: str
    unit: str
    first: float
    """Median of the first fifth."""
    last: float
    """Median of the last fifth."""
    growth: float
    """Growth over the whole run, by the slope."""
    limit: float

    @property
    def flat(self) -> bool:
        """Whether it grew by no more than the limit."""
        return self.growth <= self.limit


def trend(name: str, unit: str, samples: Sequence[Sample], limit: Limit) -> Trend:
    """Compute the trend of a series.

    Raises:
        ValueError: there are fewer than ten samples.
    """
    if len(samples) < 10:
        msg = f"{name}: {len(samples)} samples"
        raise ValueError(msg)
    fifth = max(1, len(samples) // 5)
    values = [value for _, value in samples]
    return Trend(
        name=name,
        unit=unit,
        first=statistics.median(values[:fifth]),
        last=statistics.median(values[-fifth:]),
        growth=slope(samples) * (samples[-1][0] - samples[0][0]),
        limit=limit.of(statistics.median(values)),
    )


def slope(samples: Sequence[Sample]) -> float:
    """Units per second: the median of the slopes of all pairs (Theil 1950, Sen 1968).

    Up to 29 % of the samples may be arbitrary without moving it far.
    """
    points = thinned(samples)
    return statistics.median((y2 - y1) / (x2 - x1) for (x1, y1), (x2, y2) in combinations(points, 2) if x2 > x1)


def thinned(samples: Sequence[Sample]) -> list[Sample]:
    """Reduce the samples to `MOST` at most."""
    size = -(-len(samples) // MOST)
    groups = [samples[at : at + size] for at in range(0, len(samples), size)]
    return [tuple(map(statistics.median, zip(*group, strict=True))) for group in groups]

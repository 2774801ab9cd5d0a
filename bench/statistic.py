"""Statistics of the report: percentiles, and ratios of medians with their range over the rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """The ratio of a row and its range."""

    value: float
    least: float
    """Minimum over the rounds."""
    most: float


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Return the ratio of the medians, with the range of the ratios of each round.

    Raises:
        ValueError: There are no samples, or their numbers differ.
    """
    pairs = [high / low for high, low in zip(above, below, strict=True)]
    if not pairs:
        msg = "no samples"
        raise ValueError(msg)
    return Ratio(statistics.median(above) / statistics.median(below), min(pairs), max(pairs))


def percentile(samples: Sequence[float], share: float) -> float:
    """Return the smallest sample that at least this share of the samples does not exceed (nearest rank).

    Raises:
        ValueError: There are no samples.
    """
    if not samples:
        msg = "no samples"
        raise ValueError(msg)
    ordered = sorted(samples)
    return ordered[max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)]

"""The arithmetic of the report: percentiles, and ratios of medians with the spread of their rounds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ratio:
    """What a row reached."""

    value: float
    least: float
    """Of the rounds, each compared with its neighbour."""
    most: float


def ratio(above: Sequence[float], below: Sequence[float]) -> Ratio:
    """Median over median; the spread is that of sample over sample, taken in the same round.

    Raises:
        ValueError: no samples, or not as many above as below.
    """
    pairs = [high / low for high, low in zip(above, below, strict=True)]
    if not pairs:
        msg = "no samples"
        raise ValueError(msg)
    return Ratio(statistics.median(above) / statistics.median(below), min(pairs), max(pairs))


def percentile(samples: Sequence[float], share: float) -> float:
    """The least sample that at least this share of them does not exceed (nearest rank).

    Raises:
        ValueError: no samples.
    """
    if not samples:
        msg = "no samples"
        raise ValueError(msg)
    ordered = sorted(samples)
    return ordered[max(0, -(-int(share * 10_000) * len(ordered) // 10_000) - 1)]

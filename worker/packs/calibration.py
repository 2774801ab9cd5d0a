"""False-match rates by match threshold, measured for one embedding contract."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from shared.errors import ErrorCode, JobError

LEAST_FALSE_MATCHES = 30
"""Minimum for a measured rate: the "rule of 30" (Doddington et al. 2000; ISO/IEC 19795-1), +-30 % at 90 %."""
GENERAL = "general"
"""Name of the population that `fmr` and `estimated_fmr` refer to."""

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Point:
    """One measured point: the fraction of impostor pairs that match at `similarity > threshold`."""

    fmr: Annotated[float, Field(gt=0, lt=1)]
    threshold: Annotated[float, Field(ge=-1, le=1)]
    impostor_pairs: Count | None = None
    """Number of pairs for this point if it differs from the number for the table."""


Points = Annotated[tuple[Point, ...], Field(min_length=2)]
"""Points from the highest rate to the lowest."""


class Bound(NamedTuple):
    """The rate at a threshold, or a bound on it."""

    fmr: float
    kind: Literal["estimate", "at_most", "at_least"]
    """`at_most` above the highest measured threshold, `at_least` below the lowest."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Population:
    """False-match rates in a further population, such as one group in front of one camera."""

    name: Text
    description: Text
    """Who the people are and how their pictures were taken, as a phrase to follow "among"."""
    source: Text
    """The pictures, and who measured the rates."""
    points: Points
    people: Count | None = None
    impostor_pairs: Count | None = None
    """None if the number of pairs is unknown."""

    def __post_init__(self) -> None:
        """Reject a table that is not in order or that claims more than its pairs support."""
        _check(self.points, self.impostor_pairs)

    def bound_at(self, threshold: float) -> Bound:
        """Return the rate at a threshold, or the nearest measured bound on it."""
        return _bound(self.points, threshold)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Calibration:
    """A table of false-match rates and thresholds for one embedding contract."""

    contract: str
    """The embedding contract of the measurement; the table does not apply to any other."""
    source: Text
    """The pictures, and who measured the rates."""
    impostor_pairs: Count
    points: Points
    description: Text = "people who differ in age, sex and origin"
    """Who the people are, as a phrase to follow "among"."""
    people: Count | None = None
    populations: tuple[Population, ...] = ()
    """Further populations. Their rates are reported as bounds; `fmr` refers only to the table above."""

    def __post_init__(self) -> None:
        """Reject a table that is not in order or that claims more than its pairs support."""
        _check(self.points, self.impostor_pairs)
        names = [GENERAL, *(population.name for population in self.populations)]
        if len(set(names)) < len(names):
            msg = f'populations need unique names other than "{GENERAL}"'
            raise ValueError(msg)

    @property
    def general(self) -> Population:
        """The table that `fmr` and `estimated_fmr` refer to, in the form of a population."""
        return Population(GENERAL, self.description, self.source, self.points, self.people, self.impostor_pairs)

    def threshold_for(self, fmr: float) -> float:
        """Return the threshold for a false-match rate, interpolated linearly in the logarithm of the rate.

        Raises:
            JobError: `fmr_out_of_range`: the rate is outside the measured range; the message names the nearest one.
        """
        largest, smallest = self.points[0], self.points[-1]
        if not smallest.fmr <= fmr <= largest.fmr:
            nearest = smallest if fmr < smallest.fmr else largest
            raise JobError(
                ErrorCode.FMR_OUT_OF_RANGE,
                f"The false-match rates of this model pack were measured from {largest.fmr:g} down to "
                f"{smallest.fmr:g}; {fmr:g} is outside this range. The nearest rate is {nearest.fmr:g}, at a threshold "
                f"of {nearest.threshold:g}.",
            )
        scale = [(math.log(point.fmr), point.threshold) for point in self.points]
        return round(_between(math.log(fmr), scale), 6)  # drops the rounding noise of the logarithm

    def fmr_at(self, threshold: float) -> float | None:
        """Return the estimated false-match rate at a threshold; None if the threshold is outside the table."""
        bound = _bound(self.points, threshold)
        return bound.fmr if bound.kind == "estimate" else None


def _check(points: Sequence[Point], pairs: int | None) -> None:
    for before, after in pairwise(points):
        if after.fmr >= before.fmr or after.threshold <= before.threshold:
            msg = "points must be in order of decreasing fmr and increasing threshold"
            raise ValueError(msg)
    for point in points:
        count = point.impostor_pairs or pairs
        if count is not None and point.fmr < (least := LEAST_FALSE_MATCHES / count) * (1 - 1e-9):
            msg = (
                f"{count} impostor pairs do not support an fmr below {least:.2g} "
                f"(fewer than {LEAST_FALSE_MATCHES} false matches)"
            )
            raise ValueError(msg)


def _bound(points: Sequence[Point], threshold: float) -> Bound:
    if threshold < points[0].threshold:
        return Bound(points[0].fmr, "at_least")
    if threshold > points[-1].threshold:
        return Bound(points[-1].fmr, "at_most")
    # Four digits, as in the table; more would show the rounding noise of the logarithm.
    rate = math.exp(_between(threshold, [(point.threshold, math.log(point.fmr)) for point in points]))
    return Bound(float(f"{rate:.4g}"), "estimate")


def _between(value: float, points: Sequence[tuple[float, float]]) -> float:
    """Interpolate linearly between `points`, which rise or fall and must enclose `value`."""
    for (x1, y1), (x2, y2) in pairwise(points):
        if min(x1, x2) <= value <= max(x1, x2):
            return y1 + (y2 - y1) * (value - x1) / (x2 - x1)
    return points[-1][1]

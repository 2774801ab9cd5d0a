"""What a match threshold costs: false-match rates that were measured for one embedding contract."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Literal, NamedTuple

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from shared.errors import ErrorCode, JobError

LEAST_FALSE_MATCHES = 30
"""Fewer behind a rate say too little: the "rule of 30" (Doddington et al. 2000; ISO/IEC 19795-1), +-30 % at 90 %."""
GENERAL = "general"
"""Name of the population that `fmr` and `estimated_fmr` refer to."""

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Point:
    """One measured place of a table: at `similarity > threshold`, this share of impostor pairs matches."""

    fmr: Annotated[float, Field(gt=0, lt=1)]
    threshold: Annotated[float, Field(ge=-1, le=1)]
    impostor_pairs: Count | None = None
    """Pairs behind this point, where they are not those of the table."""


Points = Annotated[tuple[Point, ...], Field(min_length=2)]
"""From the largest rate to the smallest."""


class Bound(NamedTuple):
    """What a table says about a threshold."""

    fmr: float
    kind: Literal["estimate", "at_most", "at_least"]
    """`at_most` above the highest threshold that was measured, `at_least` below the lowest."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Population:
    """False-match rates among the people of one further population, such as one group before one camera."""

    name: Text
    description: Text
    """Who the people are and how their pictures were taken, as a phrase after "among"."""
    source: Text
    """Which pictures, and who measured."""
    points: Points
    people: Count | None = None
    impostor_pairs: Count | None = None
    """None if the number of pairs is unknown."""

    def __post_init__(self) -> None:
        """Refuse a table that is not in order, or that claims more than its pairs support."""
        _check(self.points, self.impostor_pairs)

    def bound_at(self, threshold: float) -> Bound:
        """The rate at a threshold, or the nearest bound on it that was measured."""
        return _bound(self.points, threshold)


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Calibration:
    """A table from false-match rate to threshold, of one embedding contract."""

    contract: str
    """What it was measured with; it says nothing about embeddings of another contract."""
    source: Text
    """Which pictures, and who measured."""
    impostor_pairs: Count
    points: Points
    description: Text = "people who differ in age, sex and origin"
    """Who the people are, as a phrase after "among"."""
    people: Count | None = None
    populations: tuple[Population, ...] = ()
    """Further populations. Their rates bound the answer; `fmr` is looked up in the table above alone."""

    def __post_init__(self) -> None:
        """Refuse a table that is not in order, or that claims more than its pairs support."""
        _check(self.points, self.impostor_pairs)
        names = [GENERAL, *(population.name for population in self.populations)]
        if len(set(names)) < len(names):
            msg = f'populations need names of their own, other than "{GENERAL}"'
            raise ValueError(msg)

    @property
    def general(self) -> Population:
        """The table that `fmr` and `estimated_fmr` refer to, as one population among the others."""
        return Population(GENERAL, self.description, self.source, self.points, self.people, self.impostor_pairs)

    def threshold_for(self, fmr: float) -> float:
        """The threshold of this false-match rate: between two points linear in the logarithm of the rate.

        Raises:
            JobError: `fmr_out_of_range`: outside the rates that were measured; it names the nearest that was.
        """
        largest, smallest = self.points[0], self.points[-1]
        if not smallest.fmr <= fmr <= largest.fmr:
            nearest = smallest if fmr < smallest.fmr else largest
            raise JobError(
                ErrorCode.FMR_OUT_OF_RANGE,
                f"The false-match rates of this model pack were measured from {largest.fmr:g} down to "
                f"{smallest.fmr:g}; {fmr:g} is outside of them. The nearest rate is {nearest.fmr:g}, at a threshold "
                f"of {nearest.threshold:g}.",
            )
        scale = [(math.log(point.fmr), point.threshold) for point in self.points]
        return round(_between(math.log(fmr), scale), 6)  # free of the last digits of the logarithm

    def fmr_at(self, threshold: float) -> float | None:
        """The estimated false-match rate at a threshold; None where it lies outside the table."""
        bound = _bound(self.points, threshold)
        return bound.fmr if bound.kind == "estimate" else None


def _check(points: Sequence[Point], pairs: int | None) -> None:
    for before, after in pairwise(points):
        if after.fmr >= before.fmr or after.threshold <= before.threshold:
            msg = "points go from the largest fmr to the smallest, and their thresholds rise"
            raise ValueError(msg)
    for point in points:
        behind = point.impostor_pairs or pairs
        if behind is not None and point.fmr < (least := LEAST_FALSE_MATCHES / behind) * (1 - 1e-9):
            msg = (
                f"{behind} impostor pairs say nothing about an fmr below {least:.2g} "
                f"(fewer than {LEAST_FALSE_MATCHES} false matches)"
            )
            raise ValueError(msg)


def _bound(points: Sequence[Point], threshold: float) -> Bound:
    if threshold < points[0].threshold:
        return Bound(points[0].fmr, "at_least")
    if threshold > points[-1].threshold:
        return Bound(points[-1].fmr, "at_most")
    # Four digits: the table has no more, and the logarithm's last ones would show.
    rate = math.exp(_between(threshold, [(point.threshold, math.log(point.fmr)) for point in points]))
    return Bound(float(f"{rate:.4g}"), "estimate")


def _between(value: float, points: Sequence[tuple[float, float]]) -> float:
    """Piecewise linear; `value` lies between the first and the last of `points`, rising or falling."""
    for (x1, y1), (x2, y2) in pairwise(points):
        if min(x1, x2) <= value <= max(x1, x2):
            return y1 + (y2 - y1) * (value - x1) / (x2 - x1)
    return points[-1][1]

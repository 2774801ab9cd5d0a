"""What a match threshold costs: false-match rates that were measured for one embedding contract."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

from shared.errors import ErrorCode, JobError

LEAST_FALSE_MATCHES = 30
"""Fewer behind a rate say too little: the "rule of 30" (Doddington et al. 2000; ISO/IEC 19795-1), +-30 % at 90 %."""


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Point:
    """One measured place of the table: at `similarity > threshold`, this share of impostor pairs matches."""

    fmr: Annotated[float, Field(gt=0, lt=1)]
    threshold: Annotated[float, Field(ge=-1, le=1)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Calibration:
    """A table from false-match rate to threshold, of one embedding contract."""

    contract: str
    """What it was measured with; it says nothing about embeddings of another contract."""
    source: Annotated[str, Field(min_length=1)]
    """Which pictures, and who measured."""
    impostor_pairs: Annotated[int, Field(ge=1)]
    points: Annotated[tuple[Point, ...], Field(min_length=2)]
    """From the largest rate to the smallest."""

    def __post_init__(self) -> None:
        """Refuse a table that is not in order, or that says more than its pairs can."""
        for before, after in pairwise(self.points):
            if after.fmr >= before.fmr or after.threshold <= before.threshold:
                msg = "points go from the largest fmr to the smallest, and their thresholds rise"
                raise ValueError(msg)
        least = LEAST_FALSE_MATCHES / self.impostor_pairs
        if self.points[-1].fmr < least * (1 - 1e-9):
            msg = (
                f"{self.impostor_pairs} impostor pairs say nothing about an fmr below {least:.2g} "
                f"(fewer than {LEAST_FALSE_MATCHES} false matches)"
            )
            raise ValueError(msg)

    def threshold_for(self, fmr: float) -> float:
        """The threshold of this false-match rate: between two points linear in the logarithm of the rate.

        Raises:
            JobError: `fmr_out_of_range`: outside the rates that were measured.
        """
        points = self.points
        if not points[-1].fmr <= fmr <= points[0].fmr:
            raise JobError(
                ErrorCode.FMR_OUT_OF_RANGE,
                f"The false-match rates of this model pack were measured from {points[0].fmr:g} down to "
                f"{points[-1].fmr:g}; {fmr:g} is not among them.",
            )
        scale = [(math.log(point.fmr), point.threshold) for point in points]
        return round(_between(math.log(fmr), scale), 6)  # free of the last digits of the logarithm

    def fmr_at(self, threshold: float) -> float | None:
        """The estimated false-match rate at a threshold; None where it lies outside the table."""
        points = self.points
        if not points[0].threshold <= threshold <= points[-1].threshold:
            return None
        # Four digits: the table has no more, and the logarithm's last ones would show.
        return float(f"{math.exp(_between(threshold, [(p.threshold, math.log(p.fmr)) for p in points])):.4g}")


def _between(value: float, points: Sequence[tuple[float, float]]) -> float:
    """Piecewise linear; `value` lies between the first and the last of `points`, rising or falling."""
    for (x1, y1), (x2, y2) in pairwise(points):
        if min(x1, x2) <= value <= max(x1, x2):
            return y1 + (y2 - y1) * (value - x1) / (x2 - x1)
    return points[-1][1]

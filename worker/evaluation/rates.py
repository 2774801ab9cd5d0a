"""Error rates of verification over all thresholds, from the similarities of labelled pairs."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from shared.errors import SettingsError
from worker.evaluation.intervals import Rate, pairs_needed
from worker.packs.calibration import Calibration, Point, Population

TARGETS: Final = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""False-match rates that a table may contain."""
GRAIN: Final = 1e-4
"""Thresholds are rounded up to multiples of this, never toward more false matches."""
LEAST_POINTS: Final = 2
"""Minimum number of points in a table, which interpolates between them."""

Similarities = NDArray[np.float32]


@dataclass(frozen=True)
class Impostors:
    """Similarities of pairs of different people; a match is a similarity above the threshold."""

    similarities: Similarities

    @cached_property
    def ordered(self) -> Similarities:
        """The similarities in ascending order."""
        return np.sort(self.similarities)

    def fmr(self, threshold: float) -> Rate:
        """Return the false-match rate: share of impostor pairs above the threshold (ISO/IEC 19795-1)."""
        above = len(self.ordered) - int(np.searchsorted(self.ordered, np.float32(threshold), side="right"))
        return Rate(above, len(self.ordered))

    def threshold_for(self, fmr: float) -> float:
        """Return the lowest threshold, in steps of 0.0001, at which at most this share of pairs matches."""
        allowed = int(fmr * len(self.ordered) * (1 + 1e-9))
        if allowed >= len(self.ordered):
            return -1.0
        refused = self.ordered[len(self.ordered) - 1 - allowed]
        steps = int(np.ceil(round(float(refused) / GRAIN, 3)))
        return round((steps if np.float32(steps * GRAIN) >= refused else steps + 1) * GRAIN, 4)


@dataclass(frozen=True)
class Scores:
    """Similarities of genuine and impostor pairs; a match is a similarity above the threshold."""

    genuine: Similarities
    impostor: Similarities

    def __post_init__(self) -> None:
        """Reject scores without genuine or without impostor pairs."""
        if not len(self.genuine) or not len(self.impostor):
            msg = (
                f"{len(self.genuine)} pairs of the same person and {len(self.impostor)} of different people are left; "
                "both kinds are needed"
            )
            raise SettingsError(msg)

    @cached_property
    def impostors(self) -> Impostors:
        """The impostor pairs only."""
        return Impostors(self.impostor)

    @cached_property
    def _sorted(self) -> tuple[Similarities, Similarities]:
        return np.sort(self.genuine), self.impostors.ordered

    def fmr(self, threshold: float) -> Rate:
        """Return the false-match rate: share of impostor pairs above the threshold (ISO/IEC 19795-1)."""
        return self.impostors.fmr(threshold)

    def fnmr(self, threshold: float) -> Rate:
        """Return the false-non-match rate: share of genuine pairs not above the threshold (ISO/IEC 19795-1)."""
        below = int(np.searchsorted(self._sorted[0], np.float32(threshold), side="right"))
        return Rate(below, len(self.genuine))

    def threshold_for(self, fmr: float) -> float:
        """Return the lowest threshold, in steps of 0.0001, at which at most this share of impostor pairs matches."""
        return self.impostors.threshold_for(fmr)

    @cached_property
    def equal(self) -> tuple[float, float]:
        """Equal error rate and its threshold: the mean of both rates where they are closest."""
        thresholds = np.unique(np.concatenate(self._sorted))
        genuine, impostor = self._sorted
        fnmr = np.searchsorted(genuine, thresholds, side="right") / len(genuine)
        fmr = 1 - np.searchsorted(impostor, thresholds, side="right") / len(impostor)
        at = int(np.argmin(np.abs(fmr - fnmr)))
        return float(fmr[at] + fnmr[at]) / 2, float(thresholds[at])

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return FMR and FNMR at 1,000 ascending thresholds between the lowest and the highest similarity."""
        genuine, impostor = self._sorted
        ends = min(genuine[0], impostor[0]), max(genuine[-1], impostor[-1])
        thresholds = np.linspace(*ends, 1_000)
        fmr = 1 - np.searchsorted(impostor, thresholds, side="right") / len(impostor)
        fnmr = np.searchsorted(genuine, thresholds, side="right") / len(genuine)
        return fmr, fnmr


def points(impostors: Impostors, targets: Sequence[float] = TARGETS) -> tuple[Point, ...]:
    """Return the points that these pairs support: at least 30 false matches each, with ascending thresholds."""
    supported: list[Point] = []
    for target in targets:
        if len(impostors.similarities) < pairs_needed(target):
            break
        threshold = impostors.threshold_for(target)
        if not supported or threshold > supported[-1].threshold:
            supported.append(Point(fmr=target, threshold=threshold))
    return tuple(supported)


def table(scores: Scores, *, contract: str, source: str, populations: Sequence[Population] = ()) -> Calibration | None:
    """Return the calibration for a manifest; None if there are too few pairs for two rates."""
    supported = points(scores.impostors)
    if len(supported) < LEAST_POINTS:
        return None
    return Calibration(
        contract=contract,
        source=source,
        impostor_pairs=len(scores.impostor),
        points=supported,
        description="all people of the table",
        populations=tuple(populations),
    )


def population(name: str, impostors: Impostors, *, people: int | None, source: str) -> Population | None:
    """Return the table of one group for a manifest; None if there are too few pairs for two rates."""
    supported = points(impostors)
    if len(supported) < LEAST_POINTS:
        return None
    return Population(
        name=name,
        description=f"people of the group {name}",
        source=source,
        points=supported,
        people=people,
        impostor_pairs=len(impostors.similarities),
    )

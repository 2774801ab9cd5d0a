"""Error rates within each group of people: where people look alike, strangers match more often."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.errors import SettingsError
from worker.evaluation.comparisons import similarities, similarities_of_pairs
from worker.evaluation.intervals import Rate
from worker.evaluation.labels import Pair, Portrait
from worker.evaluation.rates import Impostors, Similarities, population
from worker.evaluation.reading import Vector
from worker.packs.calibration import GENERAL, Population


@dataclass(frozen=True)
class Within:
    """The pairs within one group."""

    name: str
    people: int | None
    """None if the table does not name the people."""
    genuine: Similarities
    impostors: Impostors

    def fmr(self, threshold: float) -> Rate:
        """Return the false-match rate: share of impostor pairs above the threshold."""
        return self.impostors.fmr(threshold)

    def fnmr(self, threshold: float) -> Rate:
        """Return the false-non-match rate: share of genuine pairs that are not above the threshold."""
        return Rate(int(np.count_nonzero(self.genuine <= np.float32(threshold))), len(self.genuine))

    def table(self, *, source: str) -> Population | None:
        """Return the table for a manifest; None if there are too few pairs for two rates."""
        return population(self.name, self.impostors, people=self.people, source=source)


def grouped(labels: Sequence[Pair] | Sequence[Portrait], vectors: Mapping[Path, Vector]) -> list[Within]:
    """Return the groups of the table, sorted by name; rows without a group are ignored.

    Raises:
        SettingsError: a group has the name that is reserved for all people.
    """
    names = sorted({label.group for label in labels if label.group})
    if GENERAL in names:
        msg = f'a group cannot be named "{GENERAL}": this name is reserved for all people'
        raise SettingsError(msg)
    return [_within(name, [label for label in labels if label.group == name], vectors) for name in names]


def worst(groups: Sequence[Within], threshold: float) -> Within | None:
    """Return the group with the highest false-match rate; of equal ones, the one with the fewest pairs."""
    counted = [group for group in groups if len(group.impostors.similarities)]

    def badness(group: Within) -> tuple[float, float]:
        rate = group.fmr(threshold)
        return rate.share, rate.interval[1]

    return max(counted, key=badness, default=None)


def _within(name: str, labels: Sequence[Pair | Portrait], vectors: Mapping[Path, Vector]) -> Within:
    portraits = [label for label in labels if isinstance(label, Portrait)]
    pairs = [label for label in labels if isinstance(label, Pair)]
    genuine, impostor = similarities_of_pairs(pairs, vectors) if pairs else similarities(portraits, vectors)
    people = len({portrait.person for portrait in portraits if portrait.picture in vectors}) or None
    return Within(name, people, genuine, Impostors(impostor))

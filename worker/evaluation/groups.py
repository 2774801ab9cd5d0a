"""Error rates within each group of people: where people look alike, strangers match more often than over all pairs."""

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
    """Pairs whose people both belong to one group."""

    name: str
    people: int | None
    """None where the table does not tell the people apart."""
    genuine: Similarities
    impostors: Impostors

    def fmr(self, threshold: float) -> Rate:
        """Share of its pairs of different people above the threshold."""
        return self.impostors.fmr(threshold)

    def fnmr(self, threshold: float) -> Rate:
        """Share of its pairs of one person that are not above the threshold."""
        return Rate(int(np.count_nonzero(self.genuine <= np.float32(threshold))), len(self.genuine))

    def table(self, *, source: str) -> Population | None:
        """Its table for a manifest; None where its pairs are too few for two rates."""
        return population(self.name, self.impostors, people=self.people, source=source)


def grouped(labels: Sequence[Pair] | Sequence[Portrait], vectors: Mapping[Path, Vector]) -> list[Within]:
    """Every group that the table names, in the order of their names; rows without a group are left out.

    Raises:
        SettingsError: a group has the name that is kept for all people.
    """
    names = sorted({label.group for label in labels if label.group})
    if GENERAL in names:
        msg = f'a group cannot be called "{GENERAL}": that is the name of all people together'
        raise SettingsError(msg)
    return [_within(name, [label for label in labels if label.group == name], vectors) for name in names]


def worst(groups: Sequence[Within], threshold: float) -> Within | None:
    """The group whose strangers match most often at this threshold; of equal ones that with the fewest pairs."""
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

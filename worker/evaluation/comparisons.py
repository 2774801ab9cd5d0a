"""Compares labelled pictures: each pair of a table, or every picture with every other."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from worker.evaluation.labels import Pair, Portrait
from worker.evaluation.rates import Scores, Similarities
from worker.evaluation.reading import Vector

ODDEST: Final = 5
"""Pairs that are shown from each end, where wrong labels gather."""
BLOCK: Final = 1_024


@dataclass(frozen=True, slots=True)
class Odd:
    """A pair whose similarity is far from what its label says."""

    similarity: float
    one: Path
    two: Path


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Similarities of both kinds, and the pairs that look least like their label."""

    scores: Scores
    alike: list[Odd]
    """Of different people, the most similar first."""
    unlike: list[Odd]
    """Of one person, the least similar first."""


def compared(pairs: Sequence[Pair], vectors: Mapping[Path, Vector]) -> Comparisons:
    """The pairs whose pictures both have a vector.

    Raises:
        SettingsError: no pair of the one kind or the other is left.
    """
    genuine, impostor = _of_pairs(pairs, vectors)
    return _judged([_array(genuine)], [_array(impostor)], unlike=genuine, alike=impostor)


def similarities_of_pairs(pairs: Sequence[Pair], vectors: Mapping[Path, Vector]) -> tuple[Similarities, Similarities]:
    """Of the pairs of one person and of those of two; either may be empty."""
    genuine, impostor = _of_pairs(pairs, vectors)
    return _array(genuine), _array(impostor)


def _of_pairs(pairs: Sequence[Pair], vectors: Mapping[Path, Vector]) -> tuple[list[Odd], list[Odd]]:
    known = [pair for pair in pairs if pair.one in vectors and pair.two in vectors]
    found = [
        (pair.same, Odd(float(np.clip(vectors[pair.one] @ vectors[pair.two], -1, 1)), pair.one, pair.two))
        for pair in known
    ]
    return [odd for same, odd in found if same], [odd for same, odd in found if not same]


def everyone(portraits: Sequence[Portrait], vectors: Mapping[Path, Vector]) -> Comparisons:
    """Every picture that has a vector with every other one; 13,000 pictures take about a gigabyte.

    Raises:
        SettingsError: no pair of the one kind or the other is left.
    """
    parts, odd = _each_with_each(portraits, vectors)
    return _judged(parts[True], parts[False], unlike=odd[True], alike=odd[False])


def similarities(portraits: Sequence[Portrait], vectors: Mapping[Path, Vector]) -> tuple[Similarities, Similarities]:
    """Of pairs of one person and of pairs of two, among these pictures alone; either may be empty."""
    parts, _ = _each_with_each(portraits, vectors)
    empty = np.empty(0, np.float32)
    return np.concatenate([empty, *parts[True]]), np.concatenate([empty, *parts[False]])


def _each_with_each(
    portraits: Sequence[Portrait], vectors: Mapping[Path, Vector]
) -> tuple[dict[bool, list[Similarities]], dict[bool, list[Odd]]]:
    known = [portrait for portrait in portraits if portrait.picture in vectors]
    people = np.unique([portrait.person for portrait in known], return_inverse=True)[1] if known else np.array([])
    rows = np.array([vectors[portrait.picture] for portrait in known], np.float32)
    parts: dict[bool, list[Similarities]] = {True: [], False: []}
    odd: dict[bool, list[Odd]] = {True: [], False: []}
    for start in range(0, len(known), BLOCK):
        block = np.clip(rows[start : start + BLOCK] @ rows.T, -1, 1)
        own = np.arange(start, start + len(block))[:, None]
        later = own < np.arange(len(known))[None, :]  # each pair once, no picture with itself
        same = people[own] == people[None, :]
        for wanted in (True, False):
            where = np.nonzero(later & (same if wanted else ~same))
            values = block[where]
            parts[wanted].append(values)
            order = _least(values if wanted else -values)
            odd[wanted] += [
                Odd(float(values[at]), known[start + where[0][at]].picture, known[where[1][at]].picture) for at in order
            ]
    return parts, odd


def _judged(
    genuine: list[Similarities], impostor: list[Similarities], *, unlike: list[Odd], alike: list[Odd]
) -> Comparisons:
    empty = np.empty(0, np.float32)
    return Comparisons(
        Scores(np.concatenate([empty, *genuine]), np.concatenate([empty, *impostor])),
        alike=sorted(alike, key=lambda odd: -odd.similarity)[:ODDEST],
        unlike=sorted(unlike, key=lambda odd: odd.similarity)[:ODDEST],
    )


def _least(values: Similarities) -> NDArray[np.intp]:
    """Where the least few are, in no order; a block has a million pairs, too many to sort."""
    if len(values) <= ODDEST:
        return np.arange(len(values))
    return np.argpartition(values, ODDEST)[:ODDEST]


def _array(found: list[Odd]) -> Similarities:
    return np.array([odd.similarity for odd in found], np.float32)

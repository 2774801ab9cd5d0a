"""Compare labelled pictures: each pair of a table, or every picture with every other."""

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
"""Number of pairs shown at each extreme, where wrong labels are likely."""
BLOCK: Final = 1_024


@dataclass(frozen=True, slots=True)
class Odd:
    """A pair whose similarity contradicts its label."""

    similarity: float
    one: Path
    two: Path


@dataclass(frozen=True, slots=True)
class Comparisons:
    """Similarities of genuine and impostor pairs, and the pairs that contradict their labels most."""

    scores: Scores
    alike: list[Odd]
    """Pairs of different people, most similar first."""
    unlike: list[Odd]
    """Pairs of one person, least similar first."""


def compared(pairs: Sequence[Pair], vectors: Mapping[Path, Vector]) -> Comparisons:
    """Compare the pairs whose pictures both have a vector.

    Raises:
        SettingsError: no genuine or no impostor pairs are left.
    """
    genuine, impostor = _of_pairs(pairs, vectors)
    return _judged([_array(genuine)], [_array(impostor)], unlike=genuine, alike=impostor)


def similarities_of_pairs(pairs: Sequence[Pair], vectors: Mapping[Path, Vector]) -> tuple[Similarities, Similarities]:
    """Return the similarities of genuine and of impostor pairs; either may be empty."""
    genuine, impostor = _of_pairs(pairs, vectors)
    return _array(genuine), _array(impostor)


def _of_pairs(pairs: Sequence[Pair], vectors: Mapping[Path, Vector]) -> tuple[list[Odd], list[Odd]]:
    compared_pairs = [
        (pair.same, Odd(float(np.clip(vectors[pair.one] @ vectors[pair.two], -1, 1)), pair.one, pair.two))
        for pair in pairs
        if pair.one in vectors and pair.two in vectors
    ]
    return [odd for same, odd in compared_pairs if same], [odd for same, odd in compared_pairs if not same]


def everyone(portraits: Sequence[Portrait], vectors: Mapping[Path, Vector]) -> Comparisons:
    """Compare every picture that has a vector with every other; 13,000 pictures need about a gigabyte.

    Raises:
        SettingsError: no genuine or no impostor pairs are left.
    """
    parts, odd = _each_with_each(portraits, vectors)
    return _judged(parts[True], parts[False], unlike=odd[True], alike=odd[False])


def similarities(portraits: Sequence[Portrait], vectors: Mapping[Path, Vector]) -> tuple[Similarities, Similarities]:
    """Return the similarities of genuine and of impostor pairs among these pictures; either may be empty."""
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
    """Return the indices of the smallest values, unordered; a block has a million pairs, too many to sort."""
    if len(values) <= ODDEST:
        return np.arange(len(values))
    return np.argpartition(values, ODDEST)[:ODDEST]


def _array(pairs: list[Odd]) -> Similarities:
    return np.array([pair.similarity for pair in pairs], np.float32)

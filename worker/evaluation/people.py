"""Convert a table of labels to pictures, and to which pairs show the same person or different people."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from worker.evaluation.labels import Pair, Portrait

Matrix = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class People:
    """Labelled pictures. Both matrices have the shape (pictures, pictures) and are symmetric."""

    pictures: tuple[Path, ...]
    same: Matrix
    """Pairs of pictures of one person; false on the diagonal."""
    different: Matrix
    """Pairs of pictures of different people, according to the labels."""

    def at(self, indices: Sequence[int]) -> "People":
        """Return only these pictures, in this order."""
        rows = np.array(indices, np.intp)
        grid = np.ix_(rows, rows)
        return People(tuple(self.pictures[index] for index in indices), self.same[grid], self.different[grid])


def people(labels: Sequence[Pair] | Sequence[Portrait], *, most: int) -> People:
    """Return at most `most` of the labelled pictures, spread evenly over the people.

    Pairs of the same person are joined: if a is b and b is c, then a is c. People whom no pair compares are neither the
    same nor different.
    """
    pictures = _pictures(labels)
    person = {path: path for path in pictures}
    apart: set[frozenset[Path]] | None = None
    if pairs := [label for label in labels if isinstance(label, Pair)]:
        for pair in pairs:
            if pair.same:
                person[_first(pair.one, person)] = _first(pair.two, person)
        person = {path: _first(path, person) for path in pictures}
        apart = {frozenset((person[pair.one], person[pair.two])) for pair in pairs if not pair.same}
    else:
        firsts: dict[str, Path] = {}
        portraits = [label for label in labels if isinstance(label, Portrait)]
        person = {each.picture: firsts.setdefault(each.person, each.picture) for each in portraits}
    chosen = list(_spread(pictures, person))[:most]
    owners = [person[path] for path in chosen]
    same = np.array([[one == two for two in owners] for one in owners], bool).reshape(len(chosen), len(chosen))
    if apart is None:
        different = ~same
    else:
        rows = [[one != two and frozenset((one, two)) in apart for two in owners] for one in owners]
        different = np.array(rows, bool).reshape(same.shape)
    return People(tuple(chosen), same & ~np.eye(len(chosen), dtype=bool), different)


def _pictures(labels: Sequence[Pair] | Sequence[Portrait]) -> list[Path]:
    """Return every picture once, in the order of the table."""
    paths: dict[Path, None] = {}
    for label in labels:
        for path in (label.one, label.two) if isinstance(label, Pair) else (label.picture,):
            paths[path] = None
    return list(paths)


def _first(path: Path, person: dict[Path, Path]) -> Path:
    """Return the picture that represents the person in this one."""
    while person[path] != path:
        path = person[path]
    return path


def _spread(pictures: Sequence[Path], person: dict[Path, Path]) -> Iterator[Path]:
    """Yield two pictures of each person, then two more, and so on, because pairs of one person are the rarer ones."""
    albums: dict[Path, list[Path]] = {}
    for path in pictures:
        albums.setdefault(person[path], []).append(path)
    pairs = [[album[start : start + 2] for start in range(0, len(album), 2)] for album in albums.values()]
    for layer in zip_longest(*pairs, fillvalue=[]):
        for pair in layer:
            yield from pair

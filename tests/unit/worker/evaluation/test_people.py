"""Who is the same person and who is not, as far as a table says so."""

from pathlib import Path

import numpy as np
import pytest

from worker.evaluation.labels import Pair, Portrait
from worker.evaluation.people import people

A, B, C, D, E = (Path(f"{name}.jpg") for name in "abcde")


def relations(pairs: list[Pair]) -> dict[str, set[str]]:
    read = people(pairs, most=10)
    names = [path.stem for path in read.pictures]
    return {
        kind: {f"{names[one]}{names[two]}" for one, two in zip(*np.nonzero(np.triu(matrix)), strict=True)}
        for kind, matrix in (("same", read.same), ("different", read.different))
    }


def test_pictures_of_one_person_are_joined_across_pairs() -> None:
    pairs = [Pair(A, B, same=True), Pair(B, C, same=True), Pair(C, D, same=False)]
    assert relations(pairs) == {"same": {"ab", "ac", "bc"}, "different": {"ad", "bd", "dc"}}


def test_people_whom_no_pair_compares_are_neither_same_nor_different() -> None:
    pairs = [Pair(A, B, same=True), Pair(C, D, same=True), Pair(D, E, same=False)]
    assert relations(pairs) == {"same": {"ab", "cd"}, "different": {"ce", "de"}}


def test_named_people_are_all_different() -> None:
    read = people([Portrait(A, "anna"), Portrait(B, "ben"), Portrait(C, "anna")], most=10)
    assert read.pictures == (A, C, B)
    assert read.same.tolist() == [[False, True, False], [True, False, False], [False] * 3]
    assert read.different.tolist() == [[False, False, True], [False, False, True], [True, True, False]]


@pytest.mark.parametrize(("most", "names"), [(2, "ab"), (4, "abde"), (5, "abdec")])
def test_a_few_pictures_are_spread_over_the_people_in_pairs(most: int, names: str) -> None:
    portraits = [Portrait(path, person) for path, person in zip((A, B, C, D, E), "xxxyy", strict=True)]
    read = people(portraits, most=most)
    assert [path.stem for path in read.pictures] == list(names)


def test_a_selection_keeps_identities() -> None:
    read = people([Portrait(A, "anna"), Portrait(B, "ben"), Portrait(C, "anna")], most=10).at([2, 0])
    assert read.pictures == (B, A)
    assert not read.same.any()
    assert read.different.tolist() == [[False, True], [True, False]]

"""Labelled pictures are compared by pair, or each with each."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import SettingsError
from worker.evaluation.comparisons import BLOCK, compared, everyone
from worker.evaluation.labels import Pair, Portrait
from worker.evaluation.reading import Vector

A, B, C = Path("a"), Path("b"), Path("c")
VECTORS: dict[Path, Vector] = {
    A: np.array([1, 0], np.float32),
    B: np.array([0.8, 0.6], np.float32),
    C: np.array([0, 1], np.float32),
}


def test_a_pair_without_a_face_is_left_out() -> None:
    pairs = [Pair(A, B, same=True), Pair(A, C, same=False), Pair(A, Path("none"), same=True)]
    scores = compared(pairs, VECTORS).scores
    assert scores.genuine.tolist() == pytest.approx([0.8])
    assert scores.impostor.tolist() == pytest.approx([0.0])


def test_where_one_side_is_empty_there_are_no_rates() -> None:
    with pytest.raises(SettingsError, match="both kinds are needed"):
        compared([Pair(A, B, same=True)], VECTORS)
    with pytest.raises(SettingsError, match="both kinds are needed"):
        everyone([], {})


def test_everyone_is_compared_with_everyone_once() -> None:
    count = BLOCK + 40
    rng = np.random.default_rng(3)
    rows = rng.normal(size=(count, 8)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    portraits = [Portrait(Path(str(n)), person=str(n // 2)) for n in range(count)]
    found = everyone(portraits, {Path(str(n)): row for n, row in enumerate(rows)})
    assert (len(found.scores.genuine), len(found.scores.impostor)) == (count // 2, count * (count - 2) // 2)
    between = rows @ rows.T
    for pair in range(count // 2):
        between[2 * pair : 2 * pair + 2, 2 * pair : 2 * pair + 2] = -2
    likest = sorted(map(int, np.unravel_index(int(between.argmax()), between.shape)))
    assert (found.alike[0].one, found.alike[0].two) == tuple(Path(str(n)) for n in likest)


def test_the_pairs_that_look_least_like_their_label_come_first() -> None:
    pairs = [Pair(A, B, same=False), Pair(A, C, same=False), Pair(B, C, same=True), Pair(A, B, same=True)]
    found = compared(pairs, VECTORS)
    assert [(odd.one, odd.two) for odd in found.alike] == [(A, B), (A, C)]
    assert [(odd.one, odd.two) for odd in found.unlike] == [(B, C), (A, B)]

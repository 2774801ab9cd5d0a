"""Rates within groups: pairs of two groups count in none, and the worst group is named."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import SettingsError
from worker.evaluation.groups import grouped, worst
from worker.evaluation.labels import Pair, Portrait
from worker.evaluation.reading import Vector


def turned(degrees: float) -> Vector:
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], np.float32)


ALIKE = {f"a{number}": turned(number) for number in range(6)}
APART = {f"b{number}": turned(100 + 40 * number) for number in range(6)}
VECTORS = {Path(name): vector for name, vector in {**ALIKE, **APART}.items()}
PEOPLE = [
    *(Portrait(Path(name), name[:2] if name < "a2" else "ann", group="alike") for name in ALIKE),
    *(Portrait(Path(name), name, group="apart") for name in APART),
]


def test_only_pairs_within_a_group_count() -> None:
    alike, apart = grouped(PEOPLE, VECTORS)
    assert (alike.name, alike.people, len(alike.genuine), len(alike.impostors.similarities)) == ("alike", 3, 6, 9)
    assert (apart.name, apart.people, len(apart.genuine), len(apart.impostors.similarities)) == ("apart", 6, 0, 15)
    assert alike.fmr(0.9).share == 1
    assert apart.fmr(0.9).share == 0
    assert (alike.fnmr(0.9).errors, alike.fnmr(1.0).errors) == (0, 6)


def test_the_worst_group_has_the_highest_rate() -> None:
    groups = grouped(PEOPLE, VECTORS)
    assert [group.name for threshold in (0.9, 0.5) if (group := worst(groups, threshold))] == ["alike", "alike"]


def test_without_false_matches_the_group_with_least_evidence_is_worst() -> None:
    bad = worst(grouped(PEOPLE, VECTORS), 1.0)
    assert bad is not None
    assert bad.name == "alike"


def test_pairs_have_groups_too() -> None:
    pairs = [
        Pair(Path("a0"), Path("a1"), same=False, group="alike"),
        Pair(Path("b0"), Path("b1"), same=False, group="apart"),
        Pair(Path("a0"), Path("b1"), same=False),
        Pair(Path("a0"), Path("none"), same=False, group="unread"),
    ]
    groups = grouped(pairs, VECTORS)
    assert [(group.name, group.people, len(group.impostors.similarities)) for group in groups] == [
        ("alike", None, 1), ("apart", None, 1), ("unread", None, 0),
    ]  # fmt: skip
    bad = worst(groups, 0.9)
    assert bad is not None
    assert bad.name == "alike"


def test_without_groups_there_is_no_worst() -> None:
    assert grouped([Portrait(Path("a0"), "a")], VECTORS) == []
    assert worst([], 0.5) is None


def test_a_group_becomes_a_table_where_its_pairs_support_two_rates() -> None:
    count = 80
    crowd = [Portrait(Path(str(number)), str(number), group="crowd") for number in range(count)]
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(count, 8)).astype(np.float32)
    vectors = {Path(str(number)): row / np.linalg.norm(row) for number, row in enumerate(rows)}
    [group] = grouped(crowd, vectors)
    table = group.table(source="made up")
    assert table is not None
    assert (table.name, table.people, table.impostor_pairs) == ("crowd", count, count * (count - 1) // 2)
    assert [point.fmr for point in table.points] == [0.1, 0.01]
    assert grouped(crowd[:70], vectors)[0].table(source="made up") is None


def test_the_name_of_all_people_cannot_be_a_groups() -> None:
    with pytest.raises(SettingsError, match="general"):
        grouped([Portrait(Path("a0"), "a", group="general")], VECTORS)

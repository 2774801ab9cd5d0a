"""Read tables of labelled pictures: pairs, people, and live or attack."""

import csv
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from shared.errors import SettingsError

LABELS: Final = {"1": True, "true": True, "yes": True, "same": True, "0": False, "false": False, "no": False}
SHOWN: Final = 10
"""Maximum number of missing files named in one message."""

Row = dict[str, str]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two pictures, and whether they show the same person."""

    one: Path
    two: Path
    same: bool
    group: str = ""
    """Group that both people belong to; empty if not given."""


@dataclass(frozen=True, slots=True)
class Portrait:
    """A picture and the person it shows."""

    picture: Path
    person: str
    group: str = ""
    """Group that the person belongs to; empty if not given."""


@dataclass(frozen=True, slots=True)
class Presentation:
    """A picture and what was presented to the camera."""

    picture: Path
    label: str
    """`live`, `spoof`, or anything else, which is reported but counts in no rate."""
    attack: str
    """Kind (species) of the attack; empty if there is none."""


def read_pairs(table: Path, *, pictures: Path | None = None) -> list[Pair] | list[Portrait]:
    """Read pairs (columns image1, image2, same), or people (image, person) from whom all pairs are formed.

    An optional column `group` names the group of people that a row belongs to, such as those of one site. Paths are
    relative to `pictures`, or to the folder of the table. Tables with a repository beside each path (columns repo,
    path, repo2, path2) are supported, too: `/` and `:` in its name are `+` in the name of the folder.

    Raises:
        SettingsError: the table cannot be read, a column or label is missing, or a picture does not exist.
    """
    rows, columns = _rows(table)
    base = pictures or table.parent
    if {"image", "person"} <= columns:
        portraits = _each(rows, table, lambda row: Portrait(base / row["image"], _text(row, "person"), _group(row)))
        return _existing(portraits, lambda portrait: [portrait.picture])
    if {"image1", "image2", "same"} <= columns:
        ends = ("image1", ""), ("image2", "")
    elif {"path", "path2", "repo", "repo2", "same"} <= columns:
        ends = ("path", "repo"), ("path2", "repo2")
    else:
        msg = f"{table} needs the columns image1, image2, same, or image, person; it has {', '.join(sorted(columns))}"
        raise SettingsError(msg)
    pairs = _each(
        rows,
        table,
        lambda row: Pair(_path(row, base, *ends[0]), _path(row, base, *ends[1]), _same(row), _group(row)),
    )
    return _existing(pairs, lambda pair: [pair.one, pair.two])


def read_presentations(table: Path, *, pictures: Path | None = None) -> list[Presentation]:
    """Read live pictures and attacks: columns image (or repo and path), label, and attack for its kind.

    Raises:
        SettingsError: as for `read_pairs`.
    """
    rows, columns = _rows(table)
    base = pictures or table.parent
    name, folder = ("image", "") if "image" in columns else ("path", "repo")
    if not {name, "label"} <= columns:
        msg = f"{table} needs the columns image, label, attack; it has {', '.join(sorted(columns))}"
        raise SettingsError(msg)
    shown = _each(
        rows,
        table,
        lambda row: Presentation(
            _path(row, base, name, folder), _text(row, "label").lower(), (row.get("attack") or "").strip() or ""
        ),
    )
    return _existing(shown, lambda presentation: [presentation.picture])


def _rows(table: Path) -> tuple[list[Row], set[str]]:
    try:
        with table.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            rows = list(reader)
    except OSError as error:
        msg = f"{table} cannot be read: {error.strerror}"
        raise SettingsError(msg) from None
    except (UnicodeDecodeError, csv.Error) as error:
        msg = f"{table} is not a CSV file in UTF-8: {error}"
        raise SettingsError(msg) from None
    if not rows:
        msg = f"{table} has no rows below its header"
        raise SettingsError(msg)
    return rows, set(reader.fieldnames or ())


def _each(rows: list[Row], table: Path, build: Callable[[Row], T]) -> list[T]:
    built = []
    for number, row in enumerate(rows, start=2):
        try:
            built.append(build(row))
        except ValueError as error:
            msg = f"{table}, line {number}: {error}"
            raise SettingsError(msg) from None
    return built


def _text(row: Row, column: str) -> str:
    text = (row[column] or "").strip()
    if not text:
        msg = f"{column} is empty"
        raise ValueError(msg)
    return text


def _group(row: Row) -> str:
    return (row.get("group") or "").strip()


def _same(row: Row) -> bool:
    text = _text(row, "same").lower()
    if text not in LABELS:
        msg = "same must be 1 or 0"
        raise ValueError(msg)
    return LABELS[text]


def _path(row: Row, base: Path, column: str, folder: str) -> Path:
    inside = row.get(folder, "") if folder else ""
    return base / (inside or "").replace("/", "+").replace(":", "+") / _text(row, column)


def _existing(labels: list[T], paths: Callable[[T], Iterable[Path]]) -> list[T]:
    missing = sorted({str(path) for label in labels for path in paths(label) if not path.is_file()})
    if missing:
        more = f" and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        msg = f"{len(missing)} pictures do not exist: {', '.join(missing[:SHOWN])}{more}"
        raise SettingsError(msg)
    return labels

"""The table of docs/reliability.md names existing tests and covers every case."""

import ast
import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
ROWS = [line.split("|") for line in TABLE.splitlines() if re.match(r"\| \d+ \|", line)]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
CASES = 55


@cache
def functions_of(path: str) -> set[str]:
    file = ROOT / path
    assert file.exists(), f"{path} does not exist"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_case_is_in_the_table_once_and_in_order() -> None:
    assert [int(row[1]) for row in ROWS] == list(range(1, CASES + 1))


def test_every_case_names_existing_tests_or_is_marked_as_not_built() -> None:
    for row in ROWS:
        shown = row[4]
        named = NAMED.findall(shown)
        assert NAMED.sub("", shown).strip() == ("" if named else "not built"), row
        assert [f"{path}::{name}" for path, name in named if name not in functions_of(path)] == []


def test_every_storm_fault_has_a_row_with_its_own_command() -> None:
    modules = ("faults", "moments", "misfits")
    source = "".join((ROOT / "tests" / "chaos" / f"{name}.py").read_text(encoding="utf-8") for name in modules)
    menu = re.findall(r'^            "([^"]+)": \(\d+, ', source, re.MULTILINE)
    shown = re.findall(r'^\| (.+?) \| \d+ \|.*\| `make chaos-short FAULT="(.+)"` \|$', TABLE, re.MULTILINE)
    assert len(menu) > 40
    assert sorted(shown) == sorted((name, name) for name in menu)

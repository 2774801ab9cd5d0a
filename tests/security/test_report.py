"""The table of `make security` distinguishes success, failure, and checks that could not be run."""

from pathlib import Path

import pytest

from tests.security import report
from tests.security.report import TESTS, Row, files, line, tried
from tools.setup import ROOT


@pytest.mark.parametrize(
    ("passed", "good", "shown"), [(10, True, "10"), (9, False, "FAILED"), (None, True, "not tried")]
)
def test_a_row_shows_its_outcome(passed: int | None, good: bool, shown: str) -> None:
    row = Row("check", 10, passed, 1.25)
    assert row.good is good
    assert shown in line(row)


def test_a_selection_without_tests_has_failed() -> None:
    row = tried("nothing", ("tests/unit/api/conftest.py",))
    assert (row.good, row.output) == (False, row.output)
    assert row.output


def test_a_test_that_reports_its_cases_is_counted_by_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "test_counting.py"
    path.write_text("def test_many(record_property):\n    record_property('cases', 40)\n\ndef test_one():\n    pass\n")
    monkeypatch.setattr(report, "files", lambda selection: [*selection])
    row = tried("counting", (str(path),))
    assert (row.cases, row.passed, row.output) == (41, 41, "")


def test_every_selection_names_existing_files() -> None:
    named = [part for selection in TESTS.values() for part in selection if "*" not in part]
    assert [part for part in named if not (ROOT / part).exists()] == []
    assert [check for check, selection in TESTS.items() if not files(selection)] == []

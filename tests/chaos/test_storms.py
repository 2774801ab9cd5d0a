"""A storm over a real stack: accepted jobs finish once and are reported, whatever is killed, frozen or forgotten."""

from pathlib import Path
from typing import Final

import pytest

from tests.chaos.report import summary, table
from tests.chaos.storm import Plan, storm

SECONDS: Final = 10.0
SINGLES: Final = (
    "worker frozen, then killed",
    "worker's memory filled by a hostile image",
    "worker's clock off by an hour",
    "gateway killed",
    "courier killed",
    "courier's clock off by an hour",
    "ledger killed",
    "ledger's disk full",
    "broker emptied",
    "answers lost on the way",
)
"""The others are run by `make chaos-short` and `make chaos`."""


@pytest.mark.timeout(900)
def test_a_storm_loses_and_duplicates_nothing(tmp_path: Path) -> None:
    report = storm(tmp_path, Plan(seed=1, shards=3, singles=SINGLES, seconds=SECONDS))
    print("\n".join([*table(report), *summary(report)]))  # noqa: T201 - shown if the test fails
    assert report.findings == []
    assert report.accepted > 100  # a storm without submissions shows nothing
    assert report.faults >= len(SINGLES) + SECONDS / 2
    assert {name for name, row in report.rows.items() if row.recoveries} == set(SINGLES)
    assert "stack | ledger exited (exit 1)" in (tmp_path / "log.txt").read_text(
        encoding="utf-8"
    )  # the full disk was one
    assert report.told > report.accepted
    assert sum(count for starts, count in report.starts.items() if int(starts) > 1)

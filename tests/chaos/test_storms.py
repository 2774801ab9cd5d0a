"""A storm over a real stack: what was accepted ends once and is told of, whatever is killed, frozen or forgotten."""

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
"""The others are done by `make chaos-short` and `make chaos`."""


@pytest.mark.timeout(900)
def test_a_storm_loses_nothing_and_doubles_nothing(tmp_path: Path) -> None:
    report = storm(tmp_path, Plan(seed=1, shards=3, singles=SINGLES, seconds=SECONDS))
    print("\n".join([*table(report), *summary(report)]))  # noqa: T201 - shown where it fails
    assert report.findings == []
    assert report.accepted > 100  # a storm in which nothing is asked for shows nothing
    assert report.faults >= len(SINGLES) + SECONDS / 2
    assert {name for name, row in report.rows.items() if row.recoveries} == set(SINGLES)
    assert "stack | ledger ended (exit 1)" in (tmp_path / "log.txt").read_text(
        encoding="utf-8"
    )  # the full disk was one
    assert report.told > report.accepted
    assert sum(count for starts, count in report.starts.items() if int(starts) > 1)

"""Storms over a real stack: what was accepted ends once, whatever is killed, frozen or forgotten meanwhile."""

from pathlib import Path

import pytest

from tests.chaos.conftest import REPORTS, SECONDS, SEEDS
from tests.chaos.storm import storm


@pytest.mark.timeout(SECONDS + 400)
@pytest.mark.parametrize("seed", SEEDS)
def test_a_storm_loses_nothing_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    report = storm(tmp_path, seed=seed, seconds=SECONDS)
    REPORTS.append(report)
    assert report.findings == []
    assert report.accepted > SECONDS  # a storm in which nothing is asked for shows nothing
    assert sum(report.faults.values()) > SECONDS / 2
    assert report.attempts.total() > report.attempts[1]

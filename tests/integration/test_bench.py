"""`make bench` in its short form: every part runs and every row of the report is filled."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.report import TARGETS
from tools.setup import ROOT


@pytest.mark.timeout(300)
def test_a_short_run_fills_every_row(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.run", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    [written] = tmp_path.glob("*.json")
    found = json.loads(written.read_text())
    for target in TARGETS:
        for column in target.limits:
            assert found["ratios"][target.row][column] > 0, (target.row, column)
    assert set(found["about"]) >= {"date", "machine", "commit", "pack", "versions", "t1", "one"}
    assert {"decode", "detect", "align", "embed", "models alone"} <= set(found["stages"]["t1"])
    assert "| what | picture | must | reached |" in written.with_suffix(".md").read_text()

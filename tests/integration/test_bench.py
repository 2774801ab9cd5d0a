"""`make bench` in its short form: every part runs and every row of the report is filled."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.targets import BF16, TARGETS
from tools.setup import ROOT


@pytest.mark.timeout(900)
def test_a_short_run_fills_every_row_even_without_labelled_pictures(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.run", "--quick", "--out", str(tmp_path)]
    none = {**os.environ, "VULTUS_TEST_DATA": str(tmp_path / "none")}
    done = subprocess.run(command, cwd=ROOT, env=none, capture_output=True, text=True, timeout=850, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    [written] = tmp_path.glob("*.json")
    found = json.loads(written.read_text())
    assert found.keys() >= {"about", "ratios", "spread", "figures", "skipped", "reasons"}
    for target in TARGETS:
        if target.row == BF16 and find_spec("openvino") is None:
            assert found["skipped"][BF16] == "skipped: OpenVINO is not installed"
            continue
        for column in target.limits:
            assert found["ratios"][target.row][column] > 0, (target.row, column)
    assert found["about"]["one"].startswith("astronaut.png of scikit-image, ")
    about = {"date", "command", "commit", "cores", "processor", "memory", "pack", "versions", "t1", "one", "took"}
    assert found["about"].keys() >= about
    for figure in ("engine", "models alone", "detect", "align", "embed", "decode"):
        assert found["figures"][f"{figure}, one thread"]["t1"]["median"] > 0
    text = written.with_suffix(".md").read_text()
    assert "| target | picture | required | measured |" in text
    assert all(reason in text for reason in found["reasons"])

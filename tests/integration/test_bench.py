"""`make bench` in its short form: every part runs and every row of the report is filled."""

import json
import os
from importlib.util import find_spec
from pathlib import Path

import pytest

from bench.run import main
from bench.targets import BF16, TARGETS


@pytest.mark.timeout(900)
def test_a_short_run_fills_every_row_even_without_labelled_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In this process, whose services are forked; `make bench` starts them as they start in production."""
    monkeypatch.setenv("VULTUS_TEST_DATA", str(tmp_path / "none"))
    monkeypatch.setenv("VULTUS_PACK", os.environ.get("VULTUS_PACK", "compact"))
    monkeypatch.setenv("BENCH_MODEL_MS", "0")  # the run changes it
    monkeypatch.setattr("sys.argv", ["bench.run", "--quick", "--out", str(tmp_path)])
    assert main() == 0
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

"""The report shows every measured value, its limit and whether it was met."""

import json
from pathlib import Path

import pytest

from bench import targets
from bench.report import Report
from bench.statistic import Ratio
from bench.targets import TARGETS


def test_targets_are_met_or_missed() -> None:
    report = Report(about={"pack": "compact"})
    report.put(targets.FACE_ANALYSIS, "t1", Ratio(1.5, 1.41, 1.625))
    report.put(targets.FACE_ANALYSIS, "one", 1.05)
    lines = report.markdown().splitlines()
    assert "| engine in process / FaceAnalysis.get | t1 | >= 1.4 | 1.5 | 1.41 to 1.625 | met |" in lines
    assert "| engine in process / FaceAnalysis.get | one | >= 1.1 | 1.05 | - | **missed** |" in lines
    assert lines[2].startswith("**1 of 2 targets met, 1 missed.**")


def test_upper_limits_are_met_by_smaller_values() -> None:
    report = Report(about={})
    report.put(targets.LARGE, "one", 1.5)
    report.put(targets.MEMORY, "mixed", 301.0)
    text = report.markdown()
    assert "| one | <= 1.5 | 1.5 | - | met |" in text
    assert "| mixed | <= 300 MiB | 301 MiB | - | **missed** |" in text
    assert list(report.missed()) == [(targets.MEMORY, "mixed")]


def test_unmeasured_targets_are_listed_with_the_reason() -> None:
    text = Report(about={}, skipped={targets.BF16: "skipped: OpenVINO is not installed"}).markdown()
    assert f"| {targets.BF16} | t1 | >= 3 | - | - | skipped: OpenVINO is not installed |" in text
    assert f"| {targets.SERVICE_SYNC} | t1 | >= 1.7 | - | - | not measured |" in text


def test_unknown_row_or_column_raises() -> None:
    with pytest.raises(KeyError):
        Report(about={}).put("engine", "t1", 1.0)
    with pytest.raises(KeyError):
        Report(about={}).put(targets.MEMORY, "t1", 1.0)


def test_both_files_are_written_and_json_is_keyed_by_row(tmp_path: Path) -> None:
    report = Report(about={"pack": "compact"})
    for target in TARGETS:
        for column in target.limits:
            report.put(target.row, column, Ratio(1.0, 0.9, 1.2))
    report.note("engine, one thread", "t1", [3.0, 1.0, 2.0], unit="CPU ms")
    written = report.write(tmp_path / "new", "2030-01-01")
    assert [path.name for path in written] == ["2030-01-01.json", "2030-01-01.md"]
    content = json.loads(written[0].read_text())
    assert {row: set(columns) for row, columns in content["ratios"].items()} == {
        target.row: set(target.limits) for target in TARGETS
    }
    assert content["spread"][targets.P99]["one"] == [0.9, 1.2]
    assert content["figures"]["engine, one thread"]["t1"] == {
        "unit": "CPU ms", "median": 2.0, "least": 1.0, "most": 3.0, "samples": [3.0, 1.0, 2.0]
    }  # fmt: skip

"""The report says what was found, what had to be reached, and plainly where it was missed."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.report import TARGETS, Report, percentile


def test_a_reached_target_is_met_and_another_is_missed() -> None:
    report = Report(about={"pack": "compact"})
    report.put("engine in process / FaceAnalysis.get", "t1", 1.5)
    report.put("engine in process / FaceAnalysis.get", "one", 1.05)
    lines = report.markdown().splitlines()
    assert "| engine in process / FaceAnalysis.get | t1 | >= 1.4 | 1.5 | met |" in lines
    assert "| engine in process / FaceAnalysis.get | one | >= 1.1 | 1.05 | **missed** |" in lines


def test_smaller_is_better_where_the_target_says_so() -> None:
    report = Report(about={})
    report.put("12-megapixel JPEG / 1-megapixel", "one", 1.5)
    report.put("worker memory with two job threads", "mixed", 301.0)
    text = report.markdown()
    assert "| one | <= 1.5 | 1.5 | met |" in text
    assert "| mixed | <= 300 MiB | 301 MiB | **missed** |" in text


def test_what_was_not_measured_is_said() -> None:
    row = "whole service with OpenVINO bf16 / synchronous service"
    text = Report(about={}, skipped={row: "OpenVINO is not installed"}).markdown()
    assert f"| {row} | t1 | >= 3 | - | OpenVINO is not installed |" in text
    assert "| whole service / synchronous service | t1 | >= 1.8 | - | not measured |" in text


def test_a_row_that_is_no_target_is_an_error() -> None:
    with pytest.raises(KeyError):
        Report(about={}).put("engine", "t1", 1.0)


def test_both_files_are_written_and_the_json_keys_are_the_rows(tmp_path: Path) -> None:
    report = Report(about={"pack": "compact"})
    for target in TARGETS:
        for column in target.limits:
            report.put(target.row, column, 1.0)
    report.note("engine, one thread", "t1", [3.0, 1.0, 2.0], unit="CPU ms")
    written = report.write(tmp_path / "new", "2030-01-01")
    assert [path.name for path in written] == ["2030-01-01.json", "2030-01-01.md"]
    found = json.loads(written[0].read_text())
    assert set(found["ratios"]) == {target.row for target in TARGETS}
    assert found["figures"]["engine, one thread"]["t1"] == {
        "unit": "CPU ms", "median": 2.0, "least": 1.0, "most": 3.0, "samples": 3
    }  # fmt: skip


@given(samples=st.lists(st.floats(0, 1e6), min_size=1, max_size=300), share=st.sampled_from([0.5, 0.9, 0.99, 1.0]))
def test_a_percentile_is_a_sample_that_enough_of_them_do_not_exceed(samples: list[float], share: float) -> None:
    found = percentile(samples, share)
    assert found in samples
    assert sum(sample <= found for sample in samples) >= share * len(samples) - 1e-9
    assert sum(sample < found for sample in samples) < share * len(samples)


def test_no_samples_have_no_percentile() -> None:
    with pytest.raises(ValueError, match="no samples"):
        percentile([], 0.99)

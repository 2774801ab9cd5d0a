"""When `auto` runs OpenVINO: equal outputs, clearly faster, and compared on this machine with these versions."""

from pathlib import Path

import pytest
import structlog

from tests.unit.worker.engine.tiny_pack import write_pack
from worker.packs import manifests, runtimes
from worker.packs.prepare import prefers_openvino, prepare
from worker.packs.runtimes import LEAST_SPEEDUP, Comparison, processor, versions


def comparison(*, speedup: float = 2.0, different: str | None = None) -> Comparison:
    return Comparison(processor=processor(), versions=versions(), speedup=speedup, different=different)


def prepared_with(folder: Path, compare: runtimes.Compare | None) -> list[str]:
    """Prepare a tiny pack; the lines of the report."""
    if not (folder / "tiny").exists():
        write_pack(folder)
    lines: list[str] = []
    prepare(folder / "tiny", manifests.installed(folder, "tiny"), say=lines.append, compare=compare)
    return lines


@pytest.mark.parametrize(
    ("found", "preferred", "line"),
    [
        (comparison(), True, "auto runs OpenVINO: OpenVINO is 2.00 times as fast, with the same outputs"),
        (
            comparison(speedup=LEAST_SPEEDUP - 0.01),
            False,
            "auto stays with onnxruntime: OpenVINO is 1.09 times as fast, with the same outputs",
        ),
        (
            comparison(different="a.onnx: output 0 differs"),
            False,
            "auto stays with onnxruntime: the outputs of OpenVINO differ (a.onnx: output 0 differs)",
        ),
    ],
)
def test_openvino_must_be_equal_and_clearly_faster(
    tmp_path: Path, found: Comparison, preferred: bool, line: str
) -> None:
    assert f"tiny: {line}" in prepared_with(tmp_path, lambda *_: found)
    assert prefers_openvino(tmp_path / "tiny") is preferred


def test_without_a_comparison_nothing_changes(tmp_path: Path) -> None:
    assert prefers_openvino(tmp_path / "tiny") is False
    for compare in (None, lambda *_: None):
        lines = prepared_with(tmp_path, compare)
        assert not [line for line in lines if "OpenVINO" in line]
        assert prefers_openvino(tmp_path / "tiny") is False


@pytest.mark.parametrize("changed", ["processor", "versions"])
def test_a_comparison_of_another_machine_or_version_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    prepared_with(tmp_path, lambda *_: comparison())
    monkeypatch.setattr(runtimes, changed, lambda: {} if changed == "versions" else "another")
    with structlog.testing.capture_logs() as logs:
        assert prefers_openvino(tmp_path / "tiny") is False
    assert [line["event"] for line in logs] == ["pack.runtimes_unknown"]


def test_the_comparison_sees_the_prepared_pack(tmp_path: Path) -> None:
    seen: list[bool] = []

    def compare(folder: Path, _: manifests.Manifest) -> Comparison:
        seen.append((folder / "prepared" / "record.json").is_file())
        return comparison()

    prepared_with(tmp_path, compare)
    assert seen == [True]


def test_the_processor_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some Processor 9000\nflags\t: avx2\n")
    monkeypatch.setattr(runtimes, "PROCESSORS", cpuinfo)
    assert processor() == "Some Processor 9000"
    monkeypatch.setattr(runtimes, "PROCESSORS", tmp_path / "missing")
    assert processor()

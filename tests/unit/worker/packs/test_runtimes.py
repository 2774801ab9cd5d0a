"""When `auto` runs OpenVINO: equal outputs, clearly faster, and compared on this machine with these versions."""

from pathlib import Path

import pytest
import structlog

from tests.unit.worker.engine.tiny_pack import write_pack
from worker.packs import manifests, runtimes
from worker.packs.prepare import FOLDER, RECORD, VERSION, Record, prefers_openvino, prepare
from worker.packs.runtimes import LEAST_SPEEDUP, Comparison, processor, versions


def comparison(*, speedup: float = 2.0, different: str | None = None) -> Comparison:
    return Comparison(processor=processor(), versions=versions(), speedup=speedup, different=different)


def recorded(folder: Path, found: Comparison | None) -> Path:
    """The folder, with the record of a pack whose comparison found this."""
    (folder / FOLDER).mkdir()
    record = Record(format=1, version=VERSION, files={}, runtimes=found)
    (folder / FOLDER / RECORD).write_text(record.model_dump_json(), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("found", "preferred", "summary"),
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
    tmp_path: Path, found: Comparison, preferred: bool, summary: str
) -> None:
    assert found.summary == summary
    assert prefers_openvino(recorded(tmp_path, found)) is preferred


def test_without_a_comparison_nothing_changes(tmp_path: Path) -> None:
    assert prefers_openvino(tmp_path) is False
    assert prefers_openvino(recorded(tmp_path, None)) is False


@pytest.mark.parametrize("changed", ["processor", "versions"])
def test_a_comparison_of_another_machine_or_version_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    recorded(tmp_path, comparison())
    monkeypatch.setattr(runtimes, changed, lambda: {} if changed == "versions" else "another")
    with structlog.testing.capture_logs() as logs:
        assert prefers_openvino(tmp_path) is False
    assert [line["event"] for line in logs] == ["pack.runtimes_unknown"]


def test_preparing_a_pack_compares_the_prepared_pack_and_reports_it(tmp_path: Path) -> None:
    write_pack(tmp_path)
    prepared: list[bool] = []
    lines: list[str] = []

    def compare(folder: Path, _: manifests.Manifest) -> Comparison:
        prepared.append((folder / FOLDER / RECORD).is_file())
        return comparison()

    prepare(tmp_path / "tiny", manifests.installed(tmp_path, "tiny"), say=lines.append, compare=compare)
    assert prepared == [True]
    assert lines[-1] == f"tiny: {comparison().summary}"
    assert prefers_openvino(tmp_path / "tiny")


def test_the_processor_has_a_name(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Some Processor 9000\nflags\t: avx2\n")
    monkeypatch.setattr(runtimes, "PROCESSORS", cpuinfo)
    assert processor() == "Some Processor 9000"
    monkeypatch.setattr(runtimes, "PROCESSORS", tmp_path / "missing")
    assert processor()

"""OpenVINO beside onnxruntime on the models of a pack: equal outputs, and a time for each."""

from pathlib import Path

import numpy as np
import pytest

from shared.errors import SettingsError
from tests.unit.worker.engine.tiny_pack import write_pack
from worker.engine import runtimes
from worker.engine.blobs import Blob
from worker.engine.session import Outputs
from worker.engine.sessions import OnnxSession
from worker.packs.manifests import installed
from worker.packs.runtimes import Comparison, processor, versions

pytest.importorskip("openvino")


def compared(folder: Path) -> Comparison:
    write_pack(folder)
    comparison = runtimes.compared(folder / "tiny", installed(folder, "tiny"))
    assert comparison is not None
    return comparison


def test_both_runtimes_agree_on_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "ROLES", ("recognition",))  # the tiny detector magnifies rounding
    comparison = compared(tmp_path)
    assert comparison.different is None
    assert comparison.speedup > 0
    assert (comparison.processor, comparison.versions) == (processor(), versions())


def test_other_outputs_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = OnnxSession.run

    def changed(self: OnnxSession, blob: Blob) -> Outputs:
        return [output + np.float32(1) for output in run(self, blob)]

    monkeypatch.setattr(OnnxSession, "run", changed)
    assert "output 0 differs" in str(compared(tmp_path).different)


def test_a_model_that_a_runtime_cannot_load_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        msg = "cannot be loaded"
        raise SettingsError(msg)

    monkeypatch.setattr("worker.engine.openvino_sessions.OpenVinoSession", refused)
    comparison = compared(tmp_path)
    assert (comparison.different, comparison.prefers_openvino) == ("cannot be loaded", False)


def test_without_openvino_there_is_nothing_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pack(tmp_path)
    monkeypatch.setattr(runtimes, "find_spec", lambda _: None)
    assert runtimes.compared(tmp_path / "tiny", installed(tmp_path, "tiny")) is None

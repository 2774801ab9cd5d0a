"""Models are opened on the device that was asked for, run on few threads, and give finite numbers or none."""

import os
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from shared.errors import ErrorCode, JobError, SettingsError
from tests.unit.worker.engine.tiny_pack import write_pack
from worker.engine.devices import CPU, CUDA, Device, choose_device
from worker.engine.sessions import OnnxSession, open_session

FACE = np.full((1, 3, 112, 112), 0.25, np.float32)


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    write_pack(tmp_path)
    return tmp_path / "tiny"


def test_it_says_what_it_takes_and_gives(tiny: Path, tmp_path: Path) -> None:
    fixed = open_session(tiny / "detection.onnx", Device())
    assert (fixed.name, fixed.provider, fixed.input_shape, fixed.outputs) == (
        "detection.onnx", CPU, (1, 3, 640, 640), 9
    )  # fmt: skip
    write_pack(tmp_path, name="free", flexible=True)
    assert open_session(tmp_path / "free" / "detection.onnx", Device()).input_shape == (1, 3, None, None)
    assert open_session(tmp_path / "free" / "recognition.onnx", Device()).input_shape == (None, 3, 112, 112)


def test_a_model_that_would_run_on_the_cpu_is_refused_if_a_gpu_is_required(tiny: Path) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this build has CUDA; the fallback is tested where it has not")
    with pytest.warns(UserWarning, match="Specified provider"), pytest.raises(SettingsError) as error:
        open_session(tiny / "recognition.onnx", Device(provider=CUDA))
    assert "1 of 1 heavy operators run on CPUExecutionProvider although CUDA" in str(error.value)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_run_uses_as_many_threads_as_it_was_given(tiny: Path, threads: int) -> None:
    session = OnnxSession(tiny / "recognition.onnx", choose_device("cpu", threads=threads))
    options = session._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (threads, 1)


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_number_that_is_not_finite_is_a_model_failure(tmp_path: Path, provider: str) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an optional dependency")
    write_pack(tmp_path, poisoned="recognition")
    session = open_session(tmp_path / "tiny" / "recognition.onnx", choose_device(provider))  # type: ignore[arg-type]
    with pytest.raises(JobError, match=r"recognition\.onnx returned a number that is not finite") as caught:
        session.run(FACE)
    assert caught.value.code == ErrorCode.MODEL_FAILURE


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_single_number_gives_it_away(tiny: Path, value: float) -> None:
    blob = FACE.copy()
    blob[0, 1, 14, 14] = value
    with pytest.raises(JobError):
        open_session(tiny / "recognition.onnx", Device()).run(blob)


@pytest.mark.parametrize("provider", ["cpu", "openvino"])
def test_a_file_that_is_no_model_is_refused_in_one_line(tmp_path: Path, provider: str) -> None:
    if provider == "openvino":
        pytest.importorskip("openvino", reason="OpenVINO is an optional dependency")
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"not a model")
    with pytest.raises(SettingsError, match=r"broken\.onnx cannot be loaded") as error:
        open_session(path, choose_device(provider))  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_telemetry_of_the_runtime_is_off() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"

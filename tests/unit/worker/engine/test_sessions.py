"""Which device is chosen, and that a model runs on no other."""

import os
from pathlib import Path
from typing import Literal

import onnxruntime
import pytest

from shared.errors import SettingsError
from tests.unit.worker.engine.tiny_pack import write_pack
from worker.engine.sessions import CPU, CUDA, Session, choose_provider


def test_auto_takes_the_cpu_where_this_build_has_no_cuda() -> None:
    assert choose_provider("auto", available=[CPU]) == CPU


@pytest.mark.parametrize("wanted", ["auto", "cuda"])
def test_cuda_is_taken_where_this_build_has_it(
    wanted: Literal["auto", "cuda"], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[bool] = []
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: loaded.append(True))
    assert choose_provider(wanted, available=[CUDA, CPU]) == CUDA
    assert loaded == [True]


def test_cpu_is_taken_where_it_was_asked_for_though_there_is_cuda() -> None:
    assert choose_provider("cpu", available=[CUDA, CPU]) == CPU


def test_cuda_without_a_build_for_it_refuses_in_one_line() -> None:
    with pytest.raises(SettingsError, match="VULTUS_PROVIDER=cuda, but this onnxruntime is built for the CPU") as error:
        choose_provider("cuda", available=[CPU])
    assert "\n" not in str(error.value)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_model_that_fell_back_to_the_cpu_is_refused(tmp_path: Path) -> None:
    if CUDA in onnxruntime.get_available_providers():
        pytest.skip("this build has CUDA; the fallback is tested where it has not")
    write_pack(tmp_path)
    with pytest.raises(SettingsError, match="although CUDAExecutionProvider was asked for"):
        Session(tmp_path / "tiny" / "recognition.onnx", provider=CUDA)


def test_sessions_run_on_one_thread(tmp_path: Path) -> None:
    write_pack(tmp_path)
    session = Session(tmp_path / "tiny" / "recognition.onnx", provider=CPU)
    options = session._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)


def test_telemetry_of_the_runtime_is_off() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"

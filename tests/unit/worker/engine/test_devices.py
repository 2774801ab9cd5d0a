"""Which device is chosen, and that nothing heavy runs on another one without being told."""

import ctypes
from importlib.util import find_spec
from typing import Any

import onnxruntime
import pytest

from shared.errors import SettingsError
from worker.engine.devices import CPU, CUDA, OPENVINO, TENSORRT, Device, GpuOptions, audit, choose_device, cuda_devices

GPU_BUILD = [TENSORRT, CUDA, CPU]


@pytest.fixture(autouse=True)
def _no_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is loaded from CUDA's wheels: they are not here."""
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None)


def test_auto_takes_the_cpu_where_this_build_has_no_cuda() -> None:
    assert choose_device("auto", available=[CPU], gpus=lambda: 1) == Device()


def test_auto_takes_the_cpu_where_the_driver_sees_no_gpu() -> None:
    assert choose_device("auto", available=GPU_BUILD, gpus=lambda: 0) == Device()


def test_auto_takes_cuda_where_there_is_a_gpu() -> None:
    device = choose_device("auto", available=GPU_BUILD, gpus=lambda: 1)
    assert (device.provider, device.is_gpu, device.batching, device.strays_allowed) == (CUDA, True, True, False)


@pytest.mark.skipif(find_spec("openvino") is None, reason="needs OpenVINO")
def test_auto_takes_openvino_where_it_is_preferred_and_there_is_no_gpu() -> None:
    device = choose_device("auto", openvino_preferred=True, threads=2, at_once=3, available=GPU_BUILD, gpus=lambda: 0)
    assert device == Device(provider=OPENVINO, threads=2, at_once=3)
    assert choose_device("auto", openvino_preferred=True, available=GPU_BUILD, gpus=lambda: 1).provider == CUDA
    assert choose_device("cpu", openvino_preferred=True, available=GPU_BUILD).provider == CPU


def test_auto_takes_the_cpu_where_the_preferred_openvino_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engine.devices.find_spec", lambda _: None)
    assert choose_device("auto", openvino_preferred=True, available=[CPU], gpus=lambda: 0) == Device()


def test_the_cpu_is_used_on_request_even_with_a_gpu() -> None:
    assert choose_device("cpu", available=GPU_BUILD, gpus=lambda: 1) == Device()


@pytest.mark.parametrize("wanted", ["cuda", "tensorrt"])
def test_a_gpu_without_a_build_for_it_refuses_in_one_line(wanted: str) -> None:
    with pytest.raises(SettingsError, match=f"VULTUS_PROVIDER={wanted}, but this onnxruntime is built") as error:
        choose_device(wanted, available=[CPU], gpus=lambda: 1)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)
    assert "requirements/worker-gpu.txt" in str(error.value)


@pytest.mark.parametrize("wanted", ["cuda", "tensorrt"])
def test_a_gpu_that_the_driver_does_not_see_refuses_in_one_line(wanted: str) -> None:
    with pytest.raises(SettingsError, match="the NVIDIA driver sees no GPU") as error:
        choose_device(wanted, available=GPU_BUILD, gpus=lambda: 0)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


def test_bf16_is_for_openvino_alone() -> None:
    assert choose_device("openvino", precision="bf16").precision == "bf16"
    for wanted in ("cpu", "cuda", "auto"):
        with pytest.raises(SettingsError, match="VULTUS_PRECISION=bf16 requires VULTUS_PROVIDER=openvino"):
            choose_device(wanted, precision="bf16", available=GPU_BUILD, gpus=lambda: 1)


def test_openvino_that_is_not_installed_refuses_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.engine.devices.find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"install requirements/worker-openvino\.txt"):
        choose_device("openvino")


def test_the_memory_of_a_gpu_grows_by_what_is_asked_for_and_to_a_limit() -> None:
    device = choose_device(
        "cuda",
        gpu=GpuOptions(device_id=1, memory_mb=2048, cudnn_search="exhaustive"),
        available=GPU_BUILD,
        gpus=lambda: 2,
    )
    assert device.options == {
        "device_id": "1",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "EXHAUSTIVE",
        "do_copy_in_default_stream": "1",
        "gpu_mem_limit": str(2048 * 1024 * 1024),
    }
    assert [provider if isinstance(provider, str) else provider[0] for provider in device.providers] == [CUDA, CPU]


def test_without_a_limit_none_is_set() -> None:
    assert "gpu_mem_limit" not in choose_device("cuda", available=GPU_BUILD, gpus=lambda: 1).options


def test_tensorrt_leaves_to_cuda_what_it_cannot_run() -> None:
    providers = choose_device("tensorrt", available=GPU_BUILD, gpus=lambda: 1).providers
    assert [provider if isinstance(provider, str) else provider[0] for provider in providers] == [TENSORRT, CUDA, CPU]


@pytest.mark.parametrize(
    ("setting", "on_gpu", "on_cpu"), [("auto", True, False), ("on", True, True), ("off", False, False)]
)
def test_jobs_are_joined_on_gpus_unless_set_otherwise(setting: str, on_gpu: bool, on_cpu: bool) -> None:
    gpu = choose_device("cuda", micro_batch=setting, available=GPU_BUILD, gpus=lambda: 1)  # type: ignore[arg-type]
    cpu = choose_device("cpu", micro_batch=setting)  # type: ignore[arg-type]
    assert (gpu.batching, cpu.batching) == (on_gpu, on_cpu)


ON_CUDA = Device(provider=CUDA)
MODEL = [(CUDA, "Conv", "c1"), (CUDA, "Relu", "r1"), (CUDA, "Conv", "c2"), (CPU, "Reshape", "s1")]


def test_a_model_with_its_heavy_operators_on_the_device_passes() -> None:
    audit("det.onnx", ON_CUDA, MODEL)


def test_one_heavy_operator_on_the_cpu_stops_the_start() -> None:
    with pytest.raises(SettingsError) as error:
        audit("det.onnx", ON_CUDA, [*MODEL, (CPU, "Conv", "c3")])
    said = str(error.value)
    assert said.startswith("det.onnx: 1 of 3 heavy operators run on CPUExecutionProvider although CUDA")
    assert "Conv c3" in said
    assert "VULTUS_ALLOW_CPU_FALLBACK=true" in said
    assert "\n" not in said


def test_a_model_that_fell_to_the_cpu_as_a_whole_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="2 of 2 heavy operators"):
        audit("rec.onnx", ON_CUDA, [(CPU, "FusedConv", "c"), (CPU, "Gemm", "g"), (CPU, "Relu", "r")])


def test_strays_pass_where_the_operator_accepts_them() -> None:
    audit("det.onnx", Device(provider=CUDA, strays_allowed=True), [(CPU, "Conv", "c1")])


def test_tensorrt_and_cuda_are_both_the_gpu() -> None:
    audit("det.onnx", Device(provider=TENSORRT), [(TENSORRT, "Conv", "c1"), (CUDA, "Conv", "c2")])


def test_results_name_openvino() -> None:
    assert choose_device("openvino").provider == OPENVINO


def test_openvino_is_told_how_many_jobs_run_at_once() -> None:
    device = choose_device("openvino", threads=2, at_once=4)
    assert (device.threads, device.at_once) == (2, 4)


class Driver:
    """What NVIDIA's driver answers: the status of its start, and how many GPUs it has."""

    def __init__(self, *, status: int, gpus: int) -> None:
        self._status, self._gpus = status, gpus

    def cuInit(self, _flags: int) -> int:  # noqa: N802 - the driver's name
        return self._status

    def cuDeviceGetCount(self, found: Any) -> int:  # noqa: N802
        found._obj.value = self._gpus
        return 0


@pytest.mark.parametrize(("status", "gpus", "expected"), [(0, 2, 2), (0, 0, 0), (100, 2, 0)])
def test_gpus_are_those_that_the_driver_counts(
    monkeypatch: pytest.MonkeyPatch, status: int, gpus: int, expected: int
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: Driver(status=status, gpus=gpus))
    assert cuda_devices() == expected


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert cuda_devices() == 0

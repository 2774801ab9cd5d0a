"""Choose the device that runs the models, and check that it actually does."""

import ctypes
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any, Final, Literal

import onnxruntime

from shared.errors import SettingsError
from worker.packs.manifests import Precision

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"
OPENVINO: Final = "OpenVINO"
GPUS: Final = frozenset({CUDA, TENSORRT})
HEAVY: Final = frozenset({"Conv", "ConvTranspose", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul"})
"""Operators that take nearly all of a model's time; others may run wherever onnxruntime assigns them."""

Wanted = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
_GPU_PROVIDERS: Final[Mapping[Literal["cuda", "tensorrt"], str]] = {"cuda": CUDA, "tensorrt": TENSORRT}
CudnnSearch = Literal["heuristic", "exhaustive", "default"]


@dataclass(frozen=True, slots=True)
class Device:
    """Device and options that models run with."""

    provider: str = CPU
    """Name used in results: onnxruntime's execution provider, or OpenVINO."""
    precision: Precision = "f32"
    threads: int = 1
    """Cores per model run."""
    at_once: int = 1
    """Maximum number of concurrent runs of one model; only OpenVINO needs it."""
    batching: bool = False
    """Whether the work of concurrent jobs is batched."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of a GPU provider."""
    strays_allowed: bool = False
    """Whether heavy operators may run on the CPU although a GPU was requested."""

    @property
    def is_gpu(self) -> bool:
        """True for a provider that runs on a GPU."""
        return self.provider in GPUS

    @property
    def providers(self) -> list[Any]:
        """Providers to pass to onnxruntime, in order of preference."""
        if self.provider == TENSORRT:
            return [(TENSORRT, {"device_id": self.options.get("device_id", "0")}), (CUDA, dict(self.options)), CPU]
        return [(CUDA, dict(self.options)), CPU] if self.provider == CUDA else [CPU]


@dataclass(frozen=True, slots=True)
class GpuOptions:
    """How models use a GPU."""

    device_id: int = 0
    memory_mb: int = 0
    """Limit of the memory arena of each model, in MiB; 0 for no limit."""
    cudnn_search: CudnnSearch = "heuristic"
    strays_allowed: bool = False
    """Whether heavy operators may run on the CPU."""


def choose_device(
    wanted: Wanted,
    *,
    precision: Precision = "f32",
    threads: int = 1,
    at_once: int = 1,
    micro_batch: Literal["auto", "on", "off"] = "auto",
    gpu: GpuOptions | None = None,
    openvino_preferred: bool = False,
    available: Sequence[str] | None = None,
    gpus: Callable[[], int] | None = None,
) -> Device:
    """Choose the device for these settings.

    `auto` is CUDA if this onnxruntime supports it and the driver sees a GPU, otherwise OpenVINO if it is preferred and
    installed, otherwise the CPU.

    Raises:
        SettingsError: the requested device is not available; one line says what to do.
    """
    built = onnxruntime.get_available_providers() if available is None else available
    count = cuda_devices if gpus is None else gpus
    if precision != "f32" and wanted != "openvino":
        msg = f"VULTUS_PRECISION={precision} requires VULTUS_PROVIDER=openvino"
        raise SettingsError(msg)
    if wanted == "auto":
        wanted = _automatic(openvino_preferred=openvino_preferred, gpu=CUDA in built and count() > 0)
    if wanted == "openvino":
        _require_openvino()
        return Device(
            provider=OPENVINO, precision=precision, threads=threads, at_once=at_once, batching=micro_batch == "on"
        )
    if wanted == "cpu":
        return Device(threads=threads, batching=micro_batch == "on")
    gpu = gpu or GpuOptions()
    _require_gpu(wanted, built=built, count=count)
    onnxruntime.preload_dlls()  # loads CUDA and cuDNN from their wheels before the first session looks for them
    return Device(
        provider=_GPU_PROVIDERS[wanted],
        threads=threads,
        batching=micro_batch != "off",
        options=_cuda_options(gpu),
        strays_allowed=gpu.strays_allowed,
    )


def _automatic(*, openvino_preferred: bool, gpu: bool) -> Literal["cpu", "cuda", "openvino"]:
    if gpu:
        return "cuda"
    return "openvino" if openvino_preferred and find_spec("openvino") else "cpu"


def _require_openvino() -> None:
    if find_spec("openvino") is None:
        msg = "VULTUS_PROVIDER=openvino, but it is not installed: install requirements/worker-openvino.txt"
        raise SettingsError(msg)


def _require_gpu(wanted: Literal["cuda", "tensorrt"], *, built: Sequence[str], count: Callable[[], int]) -> None:
    if _GPU_PROVIDERS[wanted] not in built:
        msg = (
            f"VULTUS_PROVIDER={wanted}, but this onnxruntime is built without it: "
            "install requirements/worker-gpu.txt, or set VULTUS_PROVIDER=cpu"
        )
        raise SettingsError(msg)
    if not count():
        msg = (
            f"VULTUS_PROVIDER={wanted}, but the NVIDIA driver sees no GPU: give the container one (compose: the gpu "
            "profile; docker: --gpus), or set VULTUS_PROVIDER=cpu"
        )
        raise SettingsError(msg)


def _cuda_options(gpu: GpuOptions) -> dict[str, str]:
    options = {
        "device_id": str(gpu.device_id),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": gpu.cudnn_search.upper(),
        "do_copy_in_default_stream": "1",
    }
    if gpu.memory_mb:
        options["gpu_mem_limit"] = str(gpu.memory_mb << 20)
    return options


def cuda_devices() -> int:
    """Return the number of GPUs that the NVIDIA driver exposes to this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def audit(model: str, device: Device, nodes: Iterable[tuple[str, str, str]]) -> None:
    """Reject a model whose heavy operators would not run on the requested device.

    onnxruntime falls back to the CPU without an error, for a whole model or for single operators, and
    `get_providers()` does not reveal the latter.

    Args:
        model: file name, for the message.
        device: the requested device.
        nodes: provider, operator and name of each node, as assigned by onnxruntime.

    Raises:
        SettingsError: one line with the number of strays, the first one, and what to do.
    """
    if device.strays_allowed:
        return
    fitting = GPUS if device.is_gpu else frozenset({device.provider})
    heavy = [node for node in nodes if node[1] in HEAVY]
    strays = [node for node in heavy if node[0] not in fitting]
    if strays:
        where, operator, name = strays[0]
        msg = (
            f"{model}: {len(strays)} of {len(heavy)} heavy operators run on {where} although {device.provider} was "
            f"requested (the first: {operator} {name}): no usable CUDA device or library; fix that, set "
            "VULTUS_PROVIDER=cpu, or accept it with VULTUS_ALLOW_CPU_FALLBACK=true"
        )
        raise SettingsError(msg)

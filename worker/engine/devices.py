"""Chooses the device that runs the models, and checks that it really does."""

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
"""Operators that make up nearly all of a model's time; the others may run where onnxruntime puts them."""

Wanted = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]
CudnnSearch = Literal["heuristic", "exhaustive", "default"]


@dataclass(frozen=True, slots=True)
class Device:
    """Where the models run, and how."""

    provider: str = CPU
    """As results name it: onnxruntime's name of the execution provider, or OpenVINO."""
    precision: Precision = "f32"
    threads: int = 1
    """Cores that one run of a model uses."""
    at_once: int = 1
    """Runs of the same model that may be under way at once; onnxruntime needs not know, OpenVINO does."""
    batching: bool = False
    """Whether the work of concurrent jobs is joined."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Options of a GPU provider."""
    strays_allowed: bool = False
    """Whether heavy operators may run on the CPU although a GPU was asked for."""

    @property
    def is_gpu(self) -> bool:
        """True for a provider that runs on a GPU."""
        return self.provider in GPUS

    @property
    def providers(self) -> list[Any]:
        """What onnxruntime is asked for, the best first."""
        if self.provider == TENSORRT:
            return [(TENSORRT, {"device_id": self.options.get("device_id", "0")}), (CUDA, dict(self.options)), CPU]
        return [(CUDA, dict(self.options)), CPU] if self.provider == CUDA else [CPU]


def choose_device(
    wanted: Wanted,
    *,
    precision: Precision = "f32",
    threads: int = 1,
    at_once: int = 1,
    micro_batch: Literal["auto", "on", "off"] = "auto",
    device_id: int = 0,
    gpu_memory_mb: int = 0,
    cudnn_search: CudnnSearch = "heuristic",
    allow_cpu_fallback: bool = False,
    available: Sequence[str] | None = None,
    gpus: Callable[[], int] | None = None,
) -> Device:
    """The device for these settings: `auto` takes CUDA where this onnxruntime has it and the driver sees a GPU.

    Raises:
        SettingsError: the device that was named is not there; one line says what to do.
    """
    built = onnxruntime.get_available_providers() if available is None else available
    count = cuda_devices if gpus is None else gpus
    if precision != "f32" and wanted != "openvino":
        msg = f"VULTUS_PRECISION={precision} works with VULTUS_PROVIDER=openvino alone"
        raise SettingsError(msg)
    if wanted == "auto":
        wanted = "cuda" if CUDA in built and count() else "cpu"
    if wanted == "openvino":
        if find_spec("openvino") is None:
            msg = "VULTUS_PROVIDER=openvino, but it is not installed: install requirements/worker-openvino.txt"
            raise SettingsError(msg)
        return Device(
            provider=OPENVINO, precision=precision, threads=threads, at_once=at_once, batching=micro_batch == "on"
        )
    if wanted == "cpu":
        return Device(threads=threads, batching=micro_batch == "on")
    provider = CUDA if wanted == "cuda" else TENSORRT
    if provider not in built:
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
    onnxruntime.preload_dlls()  # CUDA and cuDNN from their wheels, before the first session looks for them
    options = {
        "device_id": str(device_id),
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": cudnn_search.upper(),
        "do_copy_in_default_stream": "1",
    }
    if gpu_memory_mb:
        options["gpu_mem_limit"] = str(gpu_memory_mb << 20)
    return Device(
        provider=provider,
        threads=threads,
        batching=micro_batch != "off",
        options=options,
        strays_allowed=allow_cpu_fallback,
    )


def cuda_devices() -> int:
    """GPUs that the NVIDIA driver lets this process use; 0 where there is no driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    found = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(found)) != 0:
        return 0
    return found.value


def audit(model: str, device: Device, nodes: Iterable[tuple[str, str, str]]) -> None:
    """Refuse a model whose heavy operators would not run on the device that was asked for.

    onnxruntime falls back to the CPU without an error, for a whole model or for single operators, and
    `get_providers()` does not show the latter.

    Args:
        model: its file name, for the message.
        device: what was asked for.
        nodes: provider, operator and name of each node, as onnxruntime assigned them.

    Raises:
        SettingsError: one line with the number of strays, the first one, and the remedy.
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
            f"asked for (the first: {operator} {name}): no usable CUDA device or library; mend that, set "
            "VULTUS_PROVIDER=cpu, or accept it with VULTUS_ALLOW_CPU_FALLBACK=true"
        )
        raise SettingsError(msg)

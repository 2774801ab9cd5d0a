"""Load the engine selected by the worker's settings."""

import ctypes
import sys
from typing import TYPE_CHECKING, Final

import cv2

from worker.engine.base import Engine
from worker.execution.threads import job_threads
from worker.packs.manifests import readable
from worker.packs.prepare import prefers_openvino
from worker.settings import WorkerSettings

if TYPE_CHECKING:
    from worker.engine.devices import Device

HEAP: Final = {
    -8: 2,  # M_ARENA_MAX: heaps for all threads; the default is eight per core, which scatters pictures over them
    -3: 32 << 20,  # M_MMAP_THRESHOLD: allocate pictures of some megabytes from the heap, not from the kernel
    -1: 64 << 20,  # M_TRIM_THRESHOLD: keep freed memory in the heap for the next job
}
"""Parameters of glibc's mallopt. They cut the kernel time for new pages in a six-face job from 5.7 to 0.3 ms."""


def load_engine(settings: WorkerSettings) -> Engine:
    """Return the loaded and warmed-up engine.

    Changes two things for the whole process: OpenCV uses one thread, because jobs run in parallel and its pool would
    compete with them, and the C library uses few heaps that keep freed memory.

    Raises:
        SettingsError: one line that says what is missing or wrong and what to do.
    """
    cv2.setNumThreads(1)
    _keep_few_heaps()
    if settings.engine == "fake":
        from worker.engine.fake import FakeEngine  # noqa: PLC0415 - a fake worker needs no inference library

        return FakeEngine()
    device = _device(settings)
    if settings.engine == "insightface":
        from worker.engine.library import LibraryEngine  # noqa: PLC0415 - 46 MB that our own stages do not need

        with readable(settings.models_dir):
            return LibraryEngine(settings.models_dir, pack=settings.pack, device=device)
    from worker.engine.insight import InsightEngine  # noqa: PLC0415 - a fake worker needs no inference library

    return InsightEngine(settings.models_dir, pack=settings.pack, device=device)


def _keep_few_heaps() -> None:
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for parameter, value in HEAP.items():
            libc.mallopt(parameter, value)


def _device(settings: WorkerSettings) -> "Device":
    from worker.engine.devices import GpuOptions, choose_device  # noqa: PLC0415 - a fake worker needs no inference library

    return choose_device(
        settings.provider,
        precision=settings.precision,
        threads=settings.intra_op_threads,
        at_once=job_threads(settings.worker_threads, provider=settings.provider),
        micro_batch=settings.micro_batch,
        gpu=GpuOptions(
            device_id=settings.device_id,
            memory_mb=settings.gpu_memory_mb,
            cudnn_search=settings.cudnn_search,
            strays_allowed=settings.allow_cpu_fallback,
        ),
        openvino_preferred=_prefers_openvino(settings),
    )


def _prefers_openvino(settings: WorkerSettings) -> bool:
    if settings.provider != "auto" or settings.engine != "vultus":
        return False
    return prefers_openvino(settings.models_dir / settings.pack)

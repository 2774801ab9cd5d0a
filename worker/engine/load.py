"""Gives a worker the engine that its settings ask for."""

import ctypes
import sys
from typing import Final

import cv2

from worker.engine.base import Engine
from worker.execution.threads import job_threads
from worker.settings import WorkerSettings

HEAP: Final = {
    -8: 2,  # M_ARENA_MAX: heaps for all threads; left alone, eight for each core, and pictures scatter over them
    -3: 32 << 20,  # M_MMAP_THRESHOLD: a picture of some megabytes comes from the heap, not from the kernel
    -1: 64 << 20,  # M_TRIM_THRESHOLD: and goes back there, to be used again by the next job
}
"""Parameters of glibc's mallopt. With its own, a six-face job spends 5.7 ms in the kernel on fresh pages, so 0.3 ms."""


def load_engine(settings: WorkerSettings) -> Engine:
    """The loaded, warmed engine.

    Sets two things for the whole process: OpenCV to one thread, because jobs run in parallel and its pool would compete
    with them, and the C library to few heaps that keep what they have.

    Raises:
        SettingsError: in one line, what is missing or wrong and how to mend it.
    """
    cv2.setNumThreads(1)
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        for parameter, value in HEAP.items():
            libc.mallopt(parameter, value)
    if settings.engine == "fake":
        from worker.engine.fake import FakeEngine  # noqa: PLC0415 - a fake worker needs no inference library

        return FakeEngine()
    from worker.engine.devices import choose_device  # noqa: PLC0415 - a fake worker needs no inference library

    device = choose_device(
        settings.provider,
        precision=settings.precision,
        threads=settings.intra_op_threads,
        at_once=job_threads(settings.worker_threads, provider=settings.provider),
        micro_batch=settings.micro_batch,
        device_id=settings.device_id,
        gpu_memory_mb=settings.gpu_memory_mb,
        cudnn_search=settings.cudnn_search,
        allow_cpu_fallback=settings.allow_cpu_fallback,
    )
    if settings.engine == "insightface":
        from worker.engine.library import LibraryEngine  # noqa: PLC0415 - 46 MB that our own stages do without

        return LibraryEngine(settings.models_dir, pack=settings.pack, device=device)
    from worker.engine.insight import InsightEngine  # noqa: PLC0415 - a fake worker needs no inference library

    return InsightEngine(settings.models_dir, pack=settings.pack, device=device)

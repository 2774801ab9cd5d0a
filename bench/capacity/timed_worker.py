"""A real worker whose engine sleeps for a random time, which isolates the queue even on a busy machine."""

import os
import threading
import time
from random import Random
from typing import Final

from worker import runtime
from worker.app import app
from worker.engine.base import AS_THE_PACK_SAYS, Detection, Image, Search
from worker.engine.fake import FakeEngine
from worker.settings import WorkerSettings

MEAN: Final = float(os.environ.get("TIMED_MEAN", "0.1"))
"""Mean seconds of a job; the distribution is exponential."""


class TimedEngine(FakeEngine):
    """The fake engine with a pause before detection."""

    def __init__(self) -> None:
        self._rng = Random("timed")  # noqa: S311 - a simulation
        self._lock = threading.Lock()

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        """Sleep, then detect bright regions."""
        with self._lock:
            pause = self._rng.expovariate(1 / MEAN)
        time.sleep(pause)
        return super().detect(image, search)


def _timed(_settings: WorkerSettings) -> TimedEngine:
    return TimedEngine()


runtime.load_engine = _timed  # type: ignore[assignment,attr-defined]  # replaces the engine at its import

__all__ = ["app"]

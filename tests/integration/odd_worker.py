"""A real worker with one oddity from its environment: a wrong clock, or models that load slowly."""

import os
import time
from typing import Final

from tests.integration.poisoned_worker import app, load
from worker import runtime
from worker.engine.base import Engine
from worker.settings import WorkerSettings

CLOCK_AHEAD: Final = float(os.environ.get("ODD_CLOCK_AHEAD", "0"))
"""Seconds that this process's clock is ahead; negative: behind."""
LOADING: Final = float(os.environ.get("ODD_LOADING", "0"))
"""Seconds that its models take to load."""

_true_time = time.time


def load_slowly(settings: WorkerSettings) -> Engine:
    time.sleep(LOADING)
    return load(settings)


if CLOCK_AHEAD:
    time.time = lambda: _true_time() + CLOCK_AHEAD
runtime.load_engine = load_slowly  # type: ignore[attr-defined]  # its import is the seam

__all__ = ["app"]

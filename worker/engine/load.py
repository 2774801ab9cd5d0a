"""Gives a worker the engine that its settings ask for."""

import cv2

from worker.engine.base import Engine
from worker.settings import WorkerSettings


def load_engine(settings: WorkerSettings) -> Engine:
    """The loaded, warmed engine.

    Sets OpenCV to one thread for the whole process: jobs run in parallel, and its pool would compete with them.

    Raises:
        SettingsError: in one line, what is missing or wrong and how to mend it.
    """
    cv2.setNumThreads(1)
    if settings.engine == "fake":
        from worker.engine.fake import FakeEngine  # noqa: PLC0415 - a fake worker needs no inference library

        return FakeEngine()
    from worker.engine.insight import InsightEngine  # noqa: PLC0415 - a fake worker needs no inference library

    return InsightEngine(settings.models_dir, pack=settings.pack, provider=settings.provider)

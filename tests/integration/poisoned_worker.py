"""A real worker whose engine does what broken models do: on marked pictures it kills its process, hangs, or is slow."""

import os
import signal
import time
from collections.abc import Callable
from typing import Final

from worker import runtime
from worker.engine.base import AS_THE_PACK_SAYS, Detection, Engine, Image, Search
from worker.engine.fake import FakeEngine
from worker.settings import WorkerSettings

KILLS: Final = (1, 2, 3)
HANGS: Final = (3, 2, 1)
SLOW: Final = (2, 2, 2)
"""BGR of a picture's first pixel."""

DEEDS: Final[dict[tuple[int, ...], Callable[[], object]]] = {
    KILLS: lambda: os.kill(os.getpid(), signal.SIGKILL),
    HANGS: lambda: time.sleep(3600),
    SLOW: lambda: time.sleep(1),
}


class PoisonedEngine(FakeEngine):
    """The fake engine, with a weakness for marked pictures."""

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        DEEDS.get(tuple(image[0, 0].tolist()), int)()
        return super().detect(image, search)


def load(settings: WorkerSettings) -> Engine:
    assert settings.engine == "fake"
    return PoisonedEngine()


runtime.load_engine = load  # type: ignore[attr-defined]  # its import is the seam

from worker.app import app  # noqa: E402, F401 - what `celery -A` looks for

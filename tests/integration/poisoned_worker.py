"""A real worker that breaks at marked images: it kills its process before or after the result, hangs, or raises."""

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Final

from shared.ledger.jobs.store import Ledger, Outcome
from tests.integration.poisons import CRASHES, DIES_AFTER, HANGS, KILLS, SLOW, SLOWER
from worker import runtime
from worker.engine.base import AS_THE_PACK_SAYS, Detection, Engine, Image, Search
from worker.engine.fake import FakeEngine
from worker.settings import WorkerSettings

_last = threading.local()


def crash() -> None:
    raise ZeroDivisionError


DEEDS: Final[dict[tuple[int, ...], Callable[[], object]]] = {
    KILLS: lambda: os.kill(os.getpid(), signal.SIGKILL),
    HANGS: lambda: time.sleep(3600),
    CRASHES: crash,
    SLOW: lambda: time.sleep(1),
    SLOWER: lambda: time.sleep(2.5),
    DIES_AFTER: lambda: setattr(_last, "word", True),
}


class PoisonedEngine(FakeEngine):
    """The fake engine, with a weakness for marked pictures."""

    def detect(self, image: Image, search: Search = AS_THE_PACK_SAYS) -> list[Detection]:
        DEEDS.get(tuple(image[0, 0].tolist()), int)()
        return super().detect(image, search)


def finish_and_die(self: Ledger, job_id: str, token: str, outcome: Outcome) -> bool:
    written = _finish(self, job_id, token, outcome)
    if getattr(_last, "word", False):
        os.kill(os.getpid(), signal.SIGKILL)
    return written


def load(settings: WorkerSettings) -> Engine:
    assert settings.engine == "fake"
    return PoisonedEngine()


_finish = Ledger.finish
# The moment between the result and the doorbell's acknowledgement.
Ledger.finish = finish_and_die  # type: ignore[method-assign]
runtime.load_engine = load  # type: ignore[attr-defined]  # its import is the seam

from worker.app import app  # noqa: E402 - what `celery -A` looks for

__all__ = ["app"]

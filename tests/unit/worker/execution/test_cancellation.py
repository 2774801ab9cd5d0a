"""What was taken away stops; nothing else does."""

import threading
import time
from collections.abc import Iterator

import pytest

from shared.ledger.jobs.store import Ledger
from worker.execution.cancellation import Cancels, TakenError


class Telling(Ledger):
    """A ledger that tells of these jobs, then of nothing."""

    def __init__(self, *job_ids: str) -> None:
        self._told = job_ids
        self.heard = threading.Event()

    def canceled(self, stop: threading.Event) -> Iterator[str]:
        yield from self._told
        self.heard.set()
        stop.wait()


def test_only_a_running_job_can_be_taken() -> None:
    cancels = Cancels(Telling())
    cancels.take("a")
    with cancels.watch("a") as check:
        check()
        cancels.take("b")
        check()
        cancels.take("a")
        with pytest.raises(TakenError):
            check()
    with cancels.watch("a") as check:
        check()  # it was given to this process again


def test_cancellations_from_the_ledger_apply_until_the_process_stops() -> None:
    ledger = Telling("other", "a")
    cancels = Cancels(ledger)
    with cancels.watch("a") as check:
        cancels.start()
        assert ledger.heard.wait(60)
        with pytest.raises(TakenError):
            check()
    begin = time.monotonic()
    cancels.stop()
    assert time.monotonic() - begin < 60

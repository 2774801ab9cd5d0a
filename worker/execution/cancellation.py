"""Jobs that were taken from this process while it works at them: their work stops at the next stage."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from shared.ledger.jobs.store import Ledger
from shared.periodic import PeriodicThread

PAUSE: Final = timedelta(milliseconds=10)
"""Before listening again after an error; an error that stays must not keep a core busy."""


class TakenError(Exception):
    """The job is no longer this worker's: it was canceled or erased, or is another's by now."""


class Cancels(PeriodicThread):
    """Hears of jobs that were canceled or erased, in one thread for the whole process.

    A message that is lost costs work that nobody wants, and nothing else: the ledger has fenced the worker already, and
    its heartbeat tells it as well.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__("cancels", every=PAUSE)
        self._ledger = ledger
        self._watched: set[str] = set()
        self._taken: set[str] = set()
        self._lock = threading.Lock()

    def step(self) -> None:
        """Listen until stopped."""
        for job_id in self._ledger.canceled(self._stopping):
            self.take(job_id)

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Callable[[], None]]:
        """Watch a job while the block works at it; what is given raises `TakenError` once it was taken away."""
        with self._lock:
            self._watched.add(job_id)
        try:
            yield lambda: self._check(job_id)
        finally:
            with self._lock:
                self._watched.discard(job_id)
                self._taken.discard(job_id)

    def take(self, job_id: str) -> None:
        """This job is no longer ours; other jobs than those in work are nobody's business here."""
        with self._lock:
            if job_id in self._watched:
                self._taken.add(job_id)

    def _check(self, job_id: str) -> None:
        with self._lock:
            if job_id in self._taken:
                raise TakenError(job_id)

"""Stop work on jobs that are canceled, erased or reassigned while this process runs them."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from shared.ledger.jobs.store import Ledger
from shared.periodic import PeriodicThread

PAUSE: Final = timedelta(milliseconds=10)
"""Delay before listening again after an error, so that a persistent error does not keep a core busy."""


class TakenError(Exception):
    """The job no longer belongs to this worker: it was canceled, erased or claimed by another worker."""


class Cancels(PeriodicThread):
    """Listens for canceled and erased jobs, in one thread per process.

    A lost message only wastes work: the ledger has already fenced the worker, and the heartbeat also detects the loss.
    `stop` does not wait: when a worker stops, it has no job left that a message could concern.
    """

    def __init__(self, ledger: Ledger) -> None:
        super().__init__("cancels", every=PAUSE, patience=timedelta(0))
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
        """Watch a job during the block. The yielded function raises `TakenError` once the job is taken away."""
        with self._lock:
            self._watched.add(job_id)
        try:
            yield lambda: self._check(job_id)
        finally:
            with self._lock:
                self._watched.discard(job_id)
                self._taken.discard(job_id)

    def take(self, job_id: str) -> None:
        """Mark a job as taken; jobs that are not being watched are ignored."""
        with self._lock:
            if job_id in self._watched:
                self._taken.add(job_id)

    def _check(self, job_id: str) -> None:
        with self._lock:
            if job_id in self._taken:
                raise TakenError(job_id)

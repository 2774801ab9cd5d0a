"""Jobs that were taken from this process while it works at them: their work stops at the next stage."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from shared.storage.ledger import Ledger

log = structlog.get_logger(__name__)


class TakenError(Exception):
    """The job is no longer this worker's: it was canceled or erased, or is another's by now."""


class Cancels:
    """Hears of jobs that were canceled or erased, in one thread for the whole process.

    A message that is lost costs work that nobody wants, and nothing else: the ledger has fenced the worker already, and
    its heartbeat tells it as well.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._watched: set[str] = set()
        self._taken: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="cancels", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def stop(self) -> None:
        """Listen no more."""
        self._stop.set()
        self._thread.join(timeout=10)

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

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                for job_id in self._ledger.canceled(self._stop):
                    self.take(job_id)
            except MemoryError:
                continue  # a picture has taken all for a moment: listen anew

"""Work without the doorbell if it stays silent while jobs wait and this worker is idle."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from shared.errors import UnavailableError
from shared.periodic import PeriodicThread

SILENCE: Final = timedelta(seconds=5)
"""After this time idle with jobs waiting, a worker assumes that the doorbell is broken; a sweep rings every second."""
LOOK: Final = timedelta(seconds=1)

log = structlog.get_logger(__name__)


class PollingFallback(PeriodicThread):
    """Polls every second; after a silence it runs waiting jobs one at a time in its own thread.

    The broker may be unavailable, or Celery may have silently stopped listening, as has happened after lost
    connections. `stop` waits for the current job without a limit; the process that stops the worker has its own limit.

    Args:
        waiting: returns the number of waiting jobs; may raise `UnavailableError`.
        busy: returns whether this process is running a job.
        work: runs the next job and returns False if there was none; may raise `UnavailableError`.
        now: a clock in seconds.
    """

    def __init__(
        self,
        *,
        waiting: Callable[[], int],
        busy: Callable[[], bool],
        work: Callable[[], bool],
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("polling_fallback", every=LOOK, patience=None)
        self._waiting, self._busy, self._work, self._now = waiting, busy, work, now
        self._silent_since: float | None = None
        self._warned = False

    def step(self) -> None:
        """Poll once; an unavailable ledger restarts the silence."""
        try:
            self.look()
        except UnavailableError:
            self._silent_since = None  # already logged by the sweep and the heartbeat

    def look(self) -> None:
        """Poll once; if it has been silent for too long, run all waiting jobs.

        Raises:
            UnavailableError: the ledger is unavailable.
        """
        if self._busy() or not self._waiting():
            self._silent_since, self._warned = None, False
            return
        if self._silent_since is None:
            self._silent_since = self._now()
        if self._now() - self._silent_since < SILENCE.total_seconds():
            return
        while not self._stopping.is_set() and self._work():
            if not self._warned:
                log.warning("doorbell.silent", detail="jobs are waiting but the doorbell is silent; polling instead")
                self._warned = True

"""Works without the doorbell where it stays silent: jobs wait, this worker is idle, and nobody rings."""

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

import structlog

from shared.errors import UnavailableError
from shared.periodic import PeriodicThread

SILENCE: Final = timedelta(seconds=5)
"""Idle beside jobs that wait for so long, a worker does not hear: where it does, every sweep rings, once a second."""
LOOK: Final = timedelta(seconds=1)

log = structlog.get_logger(__name__)


class PollingFallback(PeriodicThread):
    """Looks every second; after a silence it does what waits, one job at a time, in a thread of its own.

    The broker may be away, or Celery may have stopped listening without a word, as it has after lost connections.
    `stop` waits for the job in progress without a limit: whoever stops the process has a limit of its own for that.

    Args:
        waiting: how many jobs wait; may raise `UnavailableError`.
        busy: whether this process has a job in work.
        work: does the next job; False where there was none for this process. It may raise `UnavailableError`.
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
        self._told = False

    def step(self) -> None:
        """Look once; a ledger that is away starts the silence anew."""
        try:
            self.look()
        except UnavailableError:
            self._silent_since = None  # the sweep and the heartbeat log it already

    def look(self) -> None:
        """One look; where it has been silent for too long, all the work that is found then.

        Raises:
            UnavailableError: the ledger is away.
        """
        if self._busy() or not self._waiting():
            self._silent_since, self._told = None, False
            return
        if self._silent_since is None:
            self._silent_since = self._now()
        if self._now() - self._silent_since < SILENCE.total_seconds():
            return
        while not self._stopping.is_set() and self._work():
            if not self._told:
                log.warning("doorbell.silent", detail="jobs wait and nobody rings: working without it, one at a time")
                self._told = True

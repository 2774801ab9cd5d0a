"""The one place that heals a crash between two steps: every gateway and every worker sweeps, once a second."""

from datetime import timedelta
from typing import Final

import structlog

from shared.dispatch import ENOUGH, Doorbell
from shared.errors import UnavailableError
from shared.ledger.jobs.store import Ledger
from shared.periodic import PeriodicThread

INTERVAL: Final = timedelta(seconds=1)
log = structlog.get_logger(__name__)


def sweep(ledger: Ledger, doorbell: Doorbell, *, max_attempts: int) -> None:
    """One pass: requeue jobs with expired leases, and ring for jobs that wait unnoticed.

    Raises:
        UnavailableError: the ledger cannot be reached, or a part of it; the rest has been healed.
    """
    reaped = ledger.reap(max_attempts=max_attempts)
    for job_id in reaped.requeued:
        log.warning("job.requeued", job_id=job_id)
    for job_id in reaped.expired:
        log.info("job.expired", job_id=job_id)
    for job_id in reaped.lost:
        log.error("job.lost", job_id=job_id)
    if reaped.queued:
        rung = doorbell.outstanding()
        if rung is not None:
            missing = min(reaped.queued, ENOUGH) - rung
            if missing > 0:
                doorbell.ring(times=missing)
    if reaped.away:
        raise reaped.away


class Sweeper(PeriodicThread):
    """Sweeps until stopped. A store that is away is reported once, and once when it is back."""

    def __init__(
        self, ledger: Ledger, doorbell: Doorbell, *, max_attempts: int, interval: timedelta = INTERVAL
    ) -> None:
        super().__init__("sweep", every=interval)
        self._ledger = ledger
        self._doorbell = doorbell
        self._max_attempts = max_attempts
        self._away = False

    def step(self) -> None:
        """Sweep once."""
        try:
            sweep(self._ledger, self._doorbell, max_attempts=self._max_attempts)
        except UnavailableError:
            if not self._away:
                log.warning("ledger.away", detail="sweeping again when it is back")
            self._away = True
        else:
            if self._away:
                log.info("ledger.back")
            self._away = False

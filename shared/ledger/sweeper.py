"""Repairs what a crash left between two steps. Every gateway and every worker sweeps once per second."""

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
    """Do one pass: requeue jobs with expired leases, and ring for queued jobs without a doorbell.

    Raises:
        UnavailableError: the ledger or a shard of it is unavailable; the other shards have been swept.
    """
    reaped = ledger.reap(max_attempts=max_attempts)
    for job_id in reaped.requeued:
        log.warning("job.requeued", job_id=job_id)
    for job_id in reaped.expired:
        log.info("job.expired", job_id=job_id)
    for job_id in reaped.lost:
        log.error("job.lost", job_id=job_id)
    if reaped.queued:
        outstanding = doorbell.outstanding()
        if outstanding is not None:
            missing = min(reaped.queued, ENOUGH) - outstanding
            if missing > 0:
                doorbell.ring(times=missing)
    if reaped.away:
        raise reaped.away


class Sweeper(PeriodicThread):
    """Sweeps until stopped. An outage of the store is logged once at its start and once at its end."""

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

"""End the process when a job is stuck: a thread cannot be killed, so only a new process gets rid of it."""

import faulthandler
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

import structlog

from shared.errors import ErrorCode, UnavailableError
from shared.jobs import Claim, JobFailure
from shared.ledger.jobs.store import Ledger
from shared.operations import Operation
from shared.periodic import PeriodicThread
from worker.execution.exclusive_gate import ExclusiveGate
from worker.execution.leases import Heartbeat

STUCK: Final = 70
"""Exit status of a process that exits because of a stuck job (EX_SOFTWARE of sysexits.h)."""
PATIENCE: Final = timedelta(seconds=3)
"""How long releasing claims may delay the exit. After that, leases expire, which costs each job an attempt."""
LONGEST_LOOK: Final = timedelta(seconds=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """A running job, its start on the watchdog's clock, and a function that returns its stage."""

    claim: Claim
    since: float
    stage: Callable[[], str]


def dead_mans_switch(delay: timedelta) -> None:
    """End the process after `delay` unless called again earlier. The timer runs in C, independent of the GIL.

    Raises:
        MemoryError: there is no memory for the C thread that waits; the next call tries again.
    """
    try:
        faulthandler.dump_traceback_later(delay.total_seconds(), exit=True)
    except RuntimeError as error:  # "unable to start watchdog thread"
        raise MemoryError(str(error)) from error


class Watchdog(PeriodicThread):
    """Checks every second whether a job exceeds the time limit of its operation.

    Such a job is stuck. Its thread cannot be killed, so the process exits and its supervisor starts a new one. Before
    that, every claim is released: the attempt counts for the stuck job but not for the others. A call that holds the
    GIL also blocks this thread; then the timer set by `arm` expires, ends the process, and the leases expire.
    """

    def __init__(
        self,
        ledger: Ledger,
        heartbeat: Heartbeat,
        exclusive_gate: ExclusiveGate,
        *,
        limits: Mapping[Operation, timedelta],
        max_attempts: int,
        now: Callable[[], float] = time.monotonic,
        end: Callable[[int], object] = os._exit,
        arm: Callable[[timedelta], None] | None = None,
    ) -> None:
        super().__init__("watchdog", every=min(min(limits.values()) / 10, LONGEST_LOOK))
        self._ledger = ledger
        self._heartbeat = heartbeat
        self._exclusive_gate = exclusive_gate
        self._limits = limits
        self._longest = max(limits.values())
        self._max_attempts = max_attempts
        self._now = now
        self._end = end
        self._arm = arm
        self._watched: dict[str, Watched] = {}
        self._lock = threading.Lock()

    def stop(self) -> None:
        """Stop watching; every job has finished."""
        super().stop()
        if self._arm:
            faulthandler.cancel_dump_traceback_later()

    @contextmanager
    def watch(self, claim: Claim, *, stage: Callable[[], str]) -> Iterator[None]:
        """Enforce the time limit on the block."""
        with self._lock:
            self._watched[claim.job.id] = Watched(claim, self._now(), stage)
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(claim.job.id, None)

    def step(self) -> None:
        """Rearm the dead man's switch and check once."""
        try:
            if self._arm:
                self._arm(self._longest + self._ledger.lease)
        finally:
            self.look()

    def look(self) -> None:
        """Check once; end the process if a job is stuck."""
        now = self._now()
        with self._lock:
            stuck = [job for job in self._watched.values() if now - job.since > self._limit(job.claim)]
        for job in stuck:
            seconds = round(now - job.since, 1)
            log.error("job.stuck", job_id=job.claim.job.id, stage=job.stage(), seconds=seconds)
        if stuck:
            self.abandon(STUCK, stuck={job.claim.job.id: self._limit(job.claim) for job in stuck})

    def _limit(self, claim: Claim) -> float:
        return self._limits[claim.job.operation].total_seconds()

    def abandon(self, status: int, *, stuck: Mapping[str, float] = MappingProxyType({})) -> None:
        """Release every claim and exit with this status, whether or not the ledger can be reached.

        Args:
            status: exit status of the process.
            stuck: the stuck jobs, each with the limit in seconds that it exceeded.
        """
        self._exclusive_gate.close()  # otherwise this process would claim the released jobs again
        back = threading.Thread(target=self._give_back, args=(stuck,), name="give-back", daemon=True)
        try:
            back.start()
        except RuntimeError:  # a process at its memory limit gets no new thread: the leases expire instead
            log.warning("worker.ended", status=status, heard=False)
        else:
            back.join(timeout=PATIENCE.total_seconds())
            log.warning("worker.ended", status=status, heard=not back.is_alive())
        self._end(status)

    def put_back(self, claim: Claim, failure: JobFailure) -> None:
        """Release one claim. The attempt counts, and the job fails if it was the last one."""
        try:
            self._ledger.release(claim.job.id, claim.token, failure=failure, max_attempts=self._max_attempts)
        except UnavailableError:
            log.warning(
                "job.unreleased", job_id=claim.job.id, detail="the ledger is unavailable; the lease will expire"
            )

    def _give_back(self, stuck: Mapping[str, float]) -> None:
        for job_id, token in self._heartbeat.held():
            failure = None
            if job_id in stuck:
                detail = f"The job ran longer than {stuck[job_id]:g} s."
                failure = JobFailure(ErrorCode.TIMED_OUT, detail, retryable=True)
            try:
                self._ledger.release(job_id, token, failure=failure, max_attempts=self._max_attempts)
            except UnavailableError:
                log.warning("job.unreleased", job_id=job_id, detail="the ledger is unavailable; the lease will expire")
        self._heartbeat.leave()

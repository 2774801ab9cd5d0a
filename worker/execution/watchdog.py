"""Ends the process when a job is stuck: threads know no time limit, and only a new process is free of it."""

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
"""Exit status of a process that ended itself because of a stuck job (EX_SOFTWARE of sysexits.h)."""
PATIENCE: Final = timedelta(seconds=3)
"""How long giving claims back may hold up the end; beyond, their leases run out, which costs each a start."""
LONGEST_LOOK: Final = timedelta(seconds=1)

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Watched:
    """One job in work: since when, by the watchdog's clock, and how to tell its stage."""

    claim: Claim
    since: float
    stage: Callable[[], str]


def dead_mans_switch(delay: timedelta) -> None:
    """End the process in `delay` unless called again before: from C, so that a held interpreter lock stops nothing.

    Raises:
        MemoryError: there is no memory for the C thread that waits; the next call tries again.
    """
    try:
        faulthandler.dump_traceback_later(delay.total_seconds(), exit=True)
    except RuntimeError as error:  # "unable to start watchdog thread"
        raise MemoryError(str(error)) from error


class Watchdog(PeriodicThread):
    """Looks every second whether a job runs longer than the limit of its operation.

    Such a job is stuck. Its thread cannot be ended, so the process ends, and whoever supervises it starts a new one.
    Before, every claim is given back: the stuck job's start counts, those of the others do not. A call that holds the
    interpreter's lock stops this thread too; then `arm`, which it did not call again, ends the process `grace` later,
    and the leases run out.
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
        """Stop looking: every job has ended."""
        super().stop()
        if self._arm:
            faulthandler.cancel_dump_traceback_later()

    @contextmanager
    def watch(self, claim: Claim, *, stage: Callable[[], str]) -> Iterator[None]:
        """Hold the block to the limit."""
        with self._lock:
            self._watched[claim.job.id] = Watched(claim, self._now(), stage)
        try:
            yield
        finally:
            with self._lock:
                self._watched.pop(claim.job.id, None)

    def step(self) -> None:
        """Arm the dead man's switch again, and look once."""
        try:
            if self._arm:
                self._arm(self._longest + self._ledger.lease)
        finally:
            self.look()

    def look(self) -> None:
        """One look; ends the process where a job is stuck."""
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
        """Give every claim back and end the process with this exit status, whether the ledger hears it or not.

        Args:
            status: the process's exit status.
            stuck: the jobs that are the reason, each with the limit in seconds that it broke.
        """
        self._exclusive_gate.close()  # or this process would claim again what it gives back
        back = threading.Thread(target=self._give_back, args=(stuck,), name="give-back", daemon=True)
        back.start()
        back.join(timeout=PATIENCE.total_seconds())
        log.warning("worker.ended", status=status, heard=not back.is_alive())
        self._end(status)

    def put_back(self, claim: Claim, failure: JobFailure) -> None:
        """Give one claim back; its start counts, and it fails so where that was the last."""
        try:
            self._ledger.release(claim.job.id, claim.token, failure=failure, max_attempts=self._max_attempts)
        except UnavailableError:
            log.warning("job.unreleased", job_id=claim.job.id, detail="the ledger is away; its lease runs out")

    def _give_back(self, stuck: Mapping[str, float]) -> None:
        for job_id, token in self._heartbeat.held():
            failure = None
            if job_id in stuck:
                detail = f"The job ran longer than {stuck[job_id]:g} s."
                failure = JobFailure(ErrorCode.TIMED_OUT, detail, retryable=True)
            try:
                self._ledger.release(job_id, token, failure=failure, max_attempts=self._max_attempts)
            except UnavailableError:
                log.warning("job.unreleased", job_id=job_id, detail="the ledger is away; its lease runs out")
        self._heartbeat.leave()

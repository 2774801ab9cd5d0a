"""Heartbeat: one thread renews every lease of this process and announces that the worker is alive."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Final

import structlog

from shared.errors import UnavailableError
from shared.jobs import Claim
from shared.ledger.jobs.store import Ledger
from shared.ledger.presence import Presence, WorkerInfo
from shared.periodic import PeriodicThread

BEATS_PER_LEASE: Final = 3
PRESENCE: Final = timedelta(seconds=15)
"""How long a silent worker still counts as alive: several beats, so that a slow store does not drop workers."""
LONGEST_BEAT: Final = timedelta(seconds=5)

log = structlog.get_logger(__name__)


class Heartbeat(PeriodicThread):
    """Renews the presence, the ready file and the leases of all jobs of this process.

    `lost` is called with the ID of a held job that no longer belongs to this process.
    """

    def __init__(
        self,
        ledger: Ledger,
        presence: Presence,
        info: WorkerInfo,
        *,
        ready_file: Path | None = None,
        lost: Callable[[str], object] = lambda _: None,
    ) -> None:
        super().__init__("heartbeat", every=min(ledger.lease / BEATS_PER_LEASE, LONGEST_BEAT))
        self._ledger = ledger
        self._presence = presence
        self._info = info
        self._ready_file = ready_file
        self._lost = lost
        self.unheard = False
        """Whether the store is currently unreachable."""
        self._held: dict[str, str] = {}
        self._refused: set[tuple[str, str]] = set()
        self._lock = threading.Lock()

    def start(self) -> None:
        """Announce the worker immediately, then beat until stopped."""
        self._beat()
        super().start()

    def stop(self) -> None:
        """Stop beating and deregister the worker."""
        super().stop()
        self.leave()

    def leave(self) -> None:
        """Deregister the worker, whether or not it still beats."""
        if self._ready_file:
            self._ready_file.unlink(missing_ok=True)
        try:
            self._presence.leave(self._info.worker)
        except UnavailableError:
            log.info("worker.left_unheard")

    @contextmanager
    def hold(self, claim: Claim) -> Iterator[None]:
        """Keep this job's lease alive while the block runs."""
        with self._lock:
            self._held[claim.job.id] = claim.token
        try:
            yield
        finally:
            with self._lock:
                self._held.pop(claim.job.id, None)

    def held(self) -> list[tuple[str, str]]:
        """Return the ID and token of every job currently held."""
        with self._lock:
            return list(self._held.items())

    def step(self) -> None:
        """Beat once; an unreachable store is logged once."""
        try:
            self._beat()
        except UnavailableError:
            if not self.unheard:
                log.warning("heartbeat.unheard", jobs=len(self._held))
            self.unheard = True
        else:
            self.unheard = False

    def _beat(self) -> None:
        refused = {claim for claim in self.held() if not self._ledger.beat(*claim)}
        # A job may finish between `held` and `beat`; it is lost only if it is still held one beat later.
        for job_id, _ in refused & self._refused:
            log.info("job.lease_lost", job_id=job_id)
            self._lost(job_id)
        self._refused = refused
        self._presence.announce(self._info, good_for=PRESENCE)
        if self._ready_file:
            self._ready_file.touch()

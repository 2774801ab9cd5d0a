"""The live workers, read from the store at most once a second."""

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import structlog

from shared.errors import ErrorCode, UnavailableError
from shared.ledger.presence import Presence, WorkerInfo

GOOD_FOR: Final = timedelta(seconds=1)
NO_WORKER_RETRY: Final = timedelta(seconds=5)
"""A starting worker needs seconds to load its models."""

log = structlog.get_logger(__name__)


def contracts_of(workers: Iterable[WorkerInfo]) -> tuple[str, ...]:
    """Return the embedding contracts of these workers. Embeddings are comparable only within one contract."""
    return tuple(sorted({worker.embedding_contract for worker in workers}))


class Workers:
    """The live workers whose models are warmed up. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, presence: Presence, *, good_for: timedelta = GOOD_FOR) -> None:
        self._presence = presence
        self._good_for = good_for.total_seconds()
        self._cached: tuple[float, list[WorkerInfo]] | None = None
        self._contracts: tuple[str, ...] = ()

    def alive(self) -> list[WorkerInfo]:
        """Return the live workers, as of at most `good_for` ago."""
        cached = self._cached
        now = time.monotonic()
        if cached is None or now - cached[0] >= self._good_for:
            cached = self._cached = (now, self._presence.alive())
            self._compare_contracts(cached[1])
        return cached[1]

    def _compare_contracts(self, workers: list[WorkerInfo]) -> None:
        """Log once when the workers' contracts start to differ."""
        contracts = contracts_of(workers)
        if len(contracts) > 1 and contracts != self._contracts:
            log.warning("workers.contracts_differ", contracts=contracts)
        self._contracts = contracts

    def required(self) -> list[WorkerInfo]:
        """Return the live workers, at least one.

        Raises:
            UnavailableError: `no_worker`.
        """
        alive = self.alive()
        if not alive:
            raise UnavailableError(
                ErrorCode.NO_WORKER, "No worker with loaded models is available.", retry_after=NO_WORKER_RETRY
            )
        return alive

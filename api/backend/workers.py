"""Who is at work, asked of the store at most once a second."""

import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

import structlog

from shared.errors import ErrorCode, UnavailableError
from shared.ledger.presence import Presence, WorkerInfo

GOOD_FOR: Final = timedelta(seconds=1)
NO_WORKER_RETRY: Final = timedelta(seconds=5)
"""A worker that starts needs seconds to load its models; sooner is no use."""


log = structlog.get_logger(__name__)


def contracts_of(workers: Iterable[WorkerInfo]) -> tuple[str, ...]:
    """The embedding contracts of these workers; embeddings compare only within one."""
    return tuple(sorted({worker.embedding_contract for worker in workers}))


class Workers:
    """The workers that are alive with their models warmed. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, presence: Presence, *, good_for: timedelta = GOOD_FOR) -> None:
        self._presence = presence
        self._good_for = good_for.total_seconds()
        self._asked: tuple[float, list[WorkerInfo]] | None = None
        self._contracts: tuple[str, ...] = ()

    def alive(self) -> list[WorkerInfo]:
        """The workers that were alive less than `good_for` ago."""
        asked = self._asked
        now = time.monotonic()
        if asked is None or now - asked[0] >= self._good_for:
            asked = self._asked = (now, self._presence.alive())
            self._compare_contracts(asked[1])
        return asked[1]

    def _compare_contracts(self, workers: list[WorkerInfo]) -> None:
        """Log once when the workers come to have different contracts."""
        contracts = contracts_of(workers)
        if len(contracts) > 1 and contracts != self._contracts:
            log.warning("workers.contracts_differ", contracts=contracts)
        self._contracts = contracts

    def required(self) -> list[WorkerInfo]:
        """The workers that are alive, at least one.

        Raises:
            UnavailableError: `no_worker`.
        """
        alive = self.alive()
        if not alive:
            raise UnavailableError(
                ErrorCode.NO_WORKER, "No worker with loaded models is available.", retry_after=NO_WORKER_RETRY
            )
        return alive

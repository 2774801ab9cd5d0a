"""Who is at work, asked of the store at most once a second."""

import time
from datetime import timedelta
from typing import Final

from shared.errors import ErrorCode, UnavailableError
from shared.storage.presence import Presence, WorkerInfo

GOOD_FOR: Final = timedelta(seconds=1)
NO_WORKER_RETRY: Final = timedelta(seconds=5)
"""A worker that starts needs seconds to load its models; sooner is no use."""


class RollCall:
    """The workers that are alive with their models warmed. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, presence: Presence, *, good_for: timedelta = GOOD_FOR) -> None:
        self._presence = presence
        self._good_for = good_for.total_seconds()
        self._asked: tuple[float, list[WorkerInfo]] | None = None

    def alive(self) -> list[WorkerInfo]:
        """The workers that were alive less than `good_for` ago."""
        asked = self._asked
        now = time.monotonic()
        if asked is None or now - asked[0] >= self._good_for:
            asked = self._asked = (now, self._presence.alive())
        return asked[1]

    def required(self) -> list[WorkerInfo]:
        """The workers that are alive, at least one.

        Raises:
            UnavailableError: `no_worker`.
        """
        alive = self.alive()
        if not alive:
            raise UnavailableError(
                ErrorCode.NO_WORKER, "No worker with warmed models is alive just now.", retry_after=NO_WORKER_RETRY
            )
        return alive

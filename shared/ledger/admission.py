"""Refuse work if the queue is too long or too old, or the store's memory is nearly full."""

import json
import math
import threading
import time
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import redis

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import Status
from shared.ledger import keys
from shared.ledger.connection import primaries, store_errors
from shared.operations import Operation
from shared.tenants import ANYTHING, DEFAULT, Grant

HIGH: Final = 0.7
"""Share of `maxmemory` above which nothing new is taken: what runs must still be able to end."""
LOOK_EVERY: Final = timedelta(seconds=1)
QUOTA_RETRY: Final = timedelta(seconds=5)
ENDED_WITHIN: Final = 30.0
"""Seconds over which ends are counted."""
LONGEST: Final = 60
"""Seconds; whoever is told to come back later than this would do better to ask again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the queue: jobs over all shards, and the waiting time of the first job."""

    depth: int
    age: timedelta = timedelta(minutes=10)
    grant: Grant = ANYTHING
    tenant: str = DEFAULT

    def of_one(self, shards: int) -> tuple[int, float, str]:
        """The limits of one of so many shards: jobs, seconds, the grant with where the tenant's jobs are counted."""
        quota: dict[str, Any] = {}
        if self.grant.jobs is not None:
            index_keys = [
                f"{status}:{operation}:{self.tenant}"
                for status in Status
                if not status.is_terminal
                for operation in Operation
            ]
            quota = {"most": -(-self.grant.jobs // shards), "index_keys": index_keys}
        return -(-self.depth // shards), self.age.total_seconds(), grant_json(self.grant, tenant=self.tenant, **quota)


def grant_json(grant: Grant, *, tenant: str, **quota: Any) -> str:
    """A grant as `scripts/common.lua` reads it."""
    checked: dict[str, Any] = {} if grant.since is None else {"since": grant.since}
    if checked and grant.key is not None:
        checked["key"] = keys.fence_mark("key", grant.key)
    return json.dumps({"tenant": keys.fence_mark("tenant", tenant), **checked, **quota})


def refuse_where_void(answer: Sequence[Any]) -> None:
    """Return unless a script found that what the caller was granted is void by now.

    Raises:
        RequestError: `forbidden` if its tenant was disabled or erased; `unauthenticated` if its key was revoked.
    """
    if answer[0] != b"void":
        return
    if answer[1] == b"key":
        raise RequestError(ErrorCode.UNAUTHENTICATED, "The API key was revoked. Nothing was accepted.")
    raise RequestError(ErrorCode.FORBIDDEN, "The tenant was disabled or erased. Nothing was accepted.")


def refuse_where_full(answer: Sequence[Any], limits: tuple[int, float, str]) -> None:
    """Read what a script says that takes work in.

    Raises:
        UnavailableError: `queue_full`, with the time that a tenth of the queue takes at the rate measured;
            `quota_exceeded`.
        RequestError: `forbidden` or `unauthenticated`: the caller may no longer do what it was let in for.
    """
    refuse_where_void(answer)
    if answer[0] == b"quota":
        raise beyond_quota(int(answer[1]))
    if answer[0] != b"full":
        return
    most, age, _ = limits
    depth, oldest, ended = int(answer[1]), float(answer[2]), int(answer[3])
    if depth >= most:
        detail = f"The queue is full: {depth} jobs wait. Nothing was accepted."
    else:
        detail = f"The queue is too slow: its first job has waited {oldest:.0f} s, over {age:g}. Nothing was accepted."
    raise UnavailableError(ErrorCode.QUEUE_FULL, detail, retry_after=come_back(depth, most=most, ended=ended))


def beyond_quota(jobs: int) -> UnavailableError:
    """What is said where a tenant has so many jobs open, and may have no more."""
    detail = f"The tenant has {jobs} jobs waiting or running, and may have no more. Nothing was accepted."
    return UnavailableError(ErrorCode.QUOTA_EXCEEDED, detail, retry_after=QUOTA_RETRY)


def come_back(depth: int, *, most: int, ended: int) -> timedelta:
    """When a queue of `depth` is a tenth below its limit, at the rate of the jobs that `ended` in the last half minute.

    Whole seconds, from 1 to `LONGEST`; the longest where nothing ended.
    """
    over = max(1, depth - math.floor(most * 0.9))
    seconds = LONGEST if not ended else math.ceil(over * ENDED_WITHIN / ended)
    return timedelta(seconds=min(max(seconds, 1), LONGEST))


class Pressure:
    """Knows how full the store's memory is, by a look at most once a second. Safe to share between threads."""

    def __init__(self, client: redis.Redis, *, now: Any = time.monotonic) -> None:
        self._client = client
        self._now = now
        self._looked = -math.inf
        self._share = 0.0
        self._lock = threading.Lock()

    def refuse_where_high(self) -> None:
        """Refuse work while the store's memory is nearly full.

        Raises:
            UnavailableError: `queue_full`, or `store_unavailable`.
        """
        with self._lock:
            due = self._now() - self._looked >= LOOK_EVERY.total_seconds()
            if due:
                self._looked = self._now()
        if due:
            self._share = self._look()
        if self._share > HIGH:
            detail = f"The job store's memory is {self._share:.0%} full. Nothing was accepted."
            raise UnavailableError(ErrorCode.QUEUE_FULL, detail, retry_after=timedelta(seconds=5))

    def _look(self) -> float:
        """Of several servers the fullest counts; one that is away says so itself to whoever needs it."""
        servers = primaries(self._client).values()
        shares = []
        for server in servers:
            with suppress(UnavailableError) if len(servers) > 1 else nullcontext(), store_errors():
                memory = server.info("memory")
                shares.append(memory["used_memory"] / memory["maxmemory"] if memory["maxmemory"] else 0.0)
        return max(shares, default=0.0)

"""Refuses work if the queue is too long or too old, or the store's memory is nearly full."""

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
"""Share of `maxmemory` above which no new work is accepted, so that running jobs can still finish."""
QUERY_EVERY: Final = timedelta(seconds=1)
QUOTA_RETRY: Final = timedelta(seconds=5)
ENDED_WITHIN: Final = 30.0
"""Seconds over which completed jobs are counted."""
LONGEST: Final = 60
"""Maximum `Retry-After`, in seconds."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of the queue: number of jobs over all shards, and waiting time of the first job."""

    depth: int
    age: timedelta = timedelta(minutes=10)
    grant: Grant = ANYTHING
    tenant: str = DEFAULT

    def of_one(self, shards: int) -> tuple[int, float, str]:
        """Return the limits of one shard: jobs, seconds, and the grant with the keys that count the tenant's jobs."""
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
    """Encode a grant for `scripts/common.lua`."""
    checked: dict[str, Any] = {} if grant.since is None else {"since": grant.since}
    if checked and grant.key is not None:
        checked["key"] = keys.fence_mark("key", grant.key)
    return json.dumps({"tenant": keys.fence_mark("tenant", tenant), **checked, **quota})


def refuse_if_void(reply: Sequence[Any]) -> None:
    """Raise an error if a script found that the caller's grant is void.

    Raises:
        RequestError: `forbidden` if the tenant was disabled or erased; `unauthenticated` if the API key was revoked.
    """
    if reply[0] != b"void":
        return
    if reply[1] == b"key":
        raise RequestError(ErrorCode.UNAUTHENTICATED, "The API key was revoked. Nothing was accepted.")
    raise RequestError(ErrorCode.FORBIDDEN, "The tenant was disabled or erased. Nothing was accepted.")


def refuse_if_full(reply: Sequence[Any], limits: tuple[int, float, str]) -> None:
    """Raise an error if the reply of an accepting script is a refusal.

    Raises:
        UnavailableError: `queue_full`, with the time that a tenth of the queue takes at the measured rate;
            `quota_exceeded`.
        RequestError: `forbidden` or `unauthenticated`: the caller's grant is void.
    """
    refuse_if_void(reply)
    if reply[0] == b"quota":
        raise beyond_quota(int(reply[1]))
    if reply[0] != b"full":
        return
    most, age, _ = limits
    depth, oldest, ended = int(reply[1]), float(reply[2]), int(reply[3])
    if depth >= most:
        detail = f"The queue is full: {depth} jobs are waiting. Nothing was accepted."
    else:
        waited = f"its first job has waited {oldest:.0f} s, more than {age:g} s"
        detail = f"The queue is too slow: {waited}. Nothing was accepted."
    raise UnavailableError(ErrorCode.QUEUE_FULL, detail, retry_after=retry_after(depth, most=most, ended=ended))


def beyond_quota(jobs: int) -> UnavailableError:
    """Return the error for a tenant that has as many unfinished jobs as its quota allows."""
    detail = f"The tenant has {jobs} jobs queued or running, and its quota allows no more. Nothing was accepted."
    return UnavailableError(ErrorCode.QUOTA_EXCEEDED, detail, retry_after=QUOTA_RETRY)


def retry_after(depth: int, *, most: int, ended: int) -> timedelta:
    """Return the time until a queue of `depth` is a tenth below its limit.

    The rate is that of the jobs that `ended` in the last half minute. The result is in whole seconds, from 1 to
    `LONGEST`; it is `LONGEST` if no job ended.
    """
    over = max(1, depth - math.floor(most * 0.9))
    seconds = LONGEST if not ended else math.ceil(over * ENDED_WITHIN / ended)
    return timedelta(seconds=min(max(seconds, 1), LONGEST))


class Pressure:
    """Knows how full the store's memory is, querying it at most once per second. Thread-safe."""

    def __init__(self, client: redis.Redis, *, now: Any = time.monotonic) -> None:
        self._client = client
        self._now = now
        self._queried_at = -math.inf
        self._share = 0.0
        self._lock = threading.Lock()

    def refuse_if_high(self) -> None:
        """Refuse work while the store's memory is nearly full.

        Raises:
            UnavailableError: `queue_full`, or `store_unavailable`.
        """
        with self._lock:
            due = self._now() - self._queried_at >= QUERY_EVERY.total_seconds()
            if due:
                self._queried_at = self._now()
        if due:
            self._share = self._query()
        if self._share > HIGH:
            detail = f"The job store's memory is {self._share:.0%} full. Nothing was accepted."
            raise UnavailableError(ErrorCode.QUEUE_FULL, detail, retry_after=timedelta(seconds=5))

    def _query(self) -> float:
        """Return the share of the fullest server. An unavailable node of a cluster is skipped."""
        servers = primaries(self._client).values()
        shares = []
        for server in servers:
            with suppress(UnavailableError) if len(servers) > 1 else nullcontext(), store_errors():
                memory = server.info("memory")
                shares.append(memory["used_memory"] / memory["maxmemory"] if memory["maxmemory"] else 0.0)
        return max(shares, default=0.0)

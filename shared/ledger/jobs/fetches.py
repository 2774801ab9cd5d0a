"""The queue of jobs whose images must be fetched before they are queued for a worker."""

import itertools
import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import redis

from shared.errors import UnavailableError
from shared.jobs import JobFailure, shard_of
from shared.ledger import keys, scripts
from shared.ledger.connection import is_cluster, store_errors
from shared.ledger.jobs.records import failure_json
from shared.observability.request_context import UNKNOWN, RequestContext

LOOKS: Final = 20
"""Attempts per search of a shard's queue. Each skips about 800 jobs of hosts and tenants that have used their share."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """The images that a job waits for."""

    job_id: str
    image_url: str | None = field(repr=False)
    reference_url: str | None = field(repr=False)
    context: RequestContext = UNKNOWN
    """The request that submitted the job."""
    shares: tuple[str, ...] = ()
    """Names of its tenant and hosts. Each of them has a share of the slots."""


class Fetches:
    """The queue of jobs that wait for their images. Thread-safe.

    Taking a job twice is harmless: the first to supply its images wins.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int, retry_window: timedelta) -> None:
        self._client = client
        self._shards = shards
        self._keep_seconds = round(retry_window.total_seconds())
        self._turns = itertools.count()
        self._take = scripts.register(client, "take_fetches", beside=__package__)
        self._supply = scripts.register(client, "supply", beside=__package__)
        self._refuse = scripts.register(client, "refuse", beside=__package__)

    def take(self, *, most: int, hold: timedelta, held: Iterable[Fetch] = ()) -> list[Fetch]:
        """Take up to `most` jobs, the longest-waiting of each shard. No other caller gets them for `hold`.

        `held` are jobs that the caller already has. A host may use at most as many of the caller's slots as stay
        free, and a tenant three times as many, so that a host that hangs delays only its own jobs.

        An unavailable shard of a cluster is skipped.
        """
        taken: list[Fetch] = []
        shares = Counter(name for fetch in held for name in fetch.shares)
        first = next(self._turns)
        for turn in range(self._shards):
            if len(taken) >= most:
                break
            shard = (first + turn) % self._shards
            try:
                for fetch in self._due(shard, most=most - len(taken), hold=hold, shares=shares):
                    taken.append(fetch)
                    shares.update(fetch.shares)
            except UnavailableError:
                if not is_cluster(self._client):
                    raise
                continue
        return taken

    def _due(self, shard: int, *, most: int, hold: timedelta, shares: Mapping[str, int]) -> list[Fetch]:
        """Take jobs of one shard. Try again a few times if the first jobs belong to hosts or tenants at their share."""
        for _ in range(LOOKS):
            with store_errors():
                rows, more = self._take(
                    keys=[keys.fetch(shard)],
                    args=[keys.prefix(shard), most, hold.total_seconds(), json.dumps(shares)],
                )
            if rows or not more:
                return [_fetch(row) for row in rows]
        return []

    def supply(self, job_id: str, *, image: bytes | None, reference: bytes | None) -> bool:
        """Store the images of a job and queue it for a worker; False if the job does not wait for images."""
        shard = shard_of(job_id)
        with store_errors():
            supplied = self._supply(
                keys=[keys.fetch(shard)], args=[keys.prefix(shard), job_id, image or b"", reference or b""]
            )
        return bool(supplied)

    def refuse(self, job_id: str, failure: JobFailure) -> bool:
        """Fail a job whose images cannot be fetched. Return False if the job does not wait for images."""
        shard = shard_of(job_id)
        with store_errors():
            refused = self._refuse(
                keys=[keys.fetch(shard)],
                args=[
                    keys.prefix(shard),
                    job_id,
                    failure_json(failure),
                    self._keep_seconds if failure.retryable else 0,
                ],
            )
        return bool(refused)

    def give_back(self, job_ids: Collection[str]) -> None:
        """Make these jobs available again before their hold ends."""
        for job_id in job_ids:
            with store_errors():
                self._client.zadd(keys.fetch(shard_of(job_id)), {job_id: 0}, xx=True)

    def waiting(self) -> int:
        """Return the number of jobs that wait for their images."""
        with store_errors():
            return sum(int(self._client.zcard(keys.fetch(shard))) for shard in range(self._shards))


def _fetch(row: Sequence[bytes]) -> Fetch:
    image_url, reference_url, request_id, traceparent = (None if part is None else part.decode() for part in row[1:5])
    shares = tuple(name.decode() for name in row[5:])
    return Fetch(row[0].decode(), image_url, reference_url, RequestContext(request_id, traceparent), shares)

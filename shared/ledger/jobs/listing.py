"""Jobs by status, operation and time: the newest first, page by page, however many there are."""

from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from shared.jobs import Job, Status, shard_of
from shared.ledger import keys, scripts
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import LISTED_FIELDS, read_job, readable
from shared.operations import SUBMITTABLE, Operation
from shared.tenants import DEFAULT

DEAD: Final = "dead"
"""Shelf of the failed jobs that are dead letters; the other index_keys are named by their status."""
_ID: Final = LISTED_FIELDS.index("id")


@dataclass(frozen=True, slots=True)
class Position:
    """Where a page ended: the time and the id of its last job."""

    created_at: float
    job_id: str


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs of a tenant are meant; None stands for any.

    `created_after` is in seconds since the epoch, and not included.
    """

    status: Status | None = None
    operation: Operation | None = None
    created_after: float | None = None
    dead_lettered: bool = False
    """Only those that failed because no worker could finish them."""
    tenant: str = DEFAULT

    @property
    def index_keys(self) -> list[str]:
        """Where the index has them."""
        statuses = [status.value for status in Status if self.status in {None, status}]
        if self.dead_lettered:
            statuses = [DEAD] if Status.FAILED in statuses else []
        elif Status.FAILED in statuses:
            statuses.append(DEAD)
        operations = [operation.value for operation in SUBMITTABLE if self.operation in {None, operation}]
        return [f"{status}:{operation}:{self.tenant}" for status in statuses for operation in operations]


@dataclass(frozen=True, slots=True)
class Page:
    """Some jobs, without their results, and where the next page begins; None where this is the last."""

    jobs: list[Job]
    next: Position | None


class Listing:
    """The index of jobs. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._list = scripts.register(client, "list", beside=__package__)

    def page(self, wanted: JobFilter, *, limit: int, after: Position | None = None) -> Page:
        """At most `limit` jobs, the newest first, those after a position.

        A job that is accepted or ends between two pages shifts nothing: the position is a time, not a count.
        """
        index_keys = wanted.index_keys
        if not index_keys:
            return Page([], None)
        found: list[tuple[float, str]] = []
        for shard in range(self._shards):
            with store_errors():
                rows = self._list(
                    keys=[keys.queue(shard)],
                    args=[
                        keys.prefix(shard),
                        limit + 1,
                        "-inf" if wanted.created_after is None else f"({wanted.created_after!r}",
                        "+inf" if after is None else repr(after.created_at),
                        "" if after is None else after.job_id,
                        *index_keys,
                    ],
                )
            found += [(float(at), job_id.decode()) for job_id, at in rows]
        found.sort(reverse=True)
        shown = found[:limit]
        more = Position(*shown[-1]) if len(found) > limit else None
        return Page(self._read([job_id for _, job_id in shown]), more)

    def _read(self, job_ids: list[str]) -> list[Job]:
        with store_errors(), self._client.pipeline(transaction=False) as asked:
            for job_id in job_ids:
                asked.hmget(keys.job(shard_of(job_id), job_id), *LISTED_FIELDS)
            rows = cast("list[list[Any]]", asked.execute())
        # One that expired a moment ago may still be in the index.
        records = (
            {name.encode(): value for name, value in zip(LISTED_FIELDS, row, strict=True) if value is not None}
            for row in rows
            if row[_ID] is not None
        )
        return list(readable("job", records, read_job))

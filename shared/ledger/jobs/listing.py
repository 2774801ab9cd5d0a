"""Lists jobs by status, operation and time, newest first and in pages."""

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
"""Index key of failed jobs that are dead letters. Other index keys are named by status."""
_ID: Final = LISTED_FIELDS.index("id")


@dataclass(frozen=True, slots=True)
class Position:
    """The end of a page: creation time and id of its last job."""

    created_at: float
    job_id: str


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs of a tenant to list. None matches any value.

    `created_after` is in seconds since the epoch, exclusive.
    """

    status: Status | None = None
    operation: Operation | None = None
    created_after: float | None = None
    dead_lettered: bool = False
    """If true, only jobs that failed because no worker could finish them."""
    tenant: str = DEFAULT

    @property
    def index_keys(self) -> list[str]:
        """The keys of the index that contain these jobs."""
        statuses = [status.value for status in Status if self.status in {None, status}]
        if self.dead_lettered:
            statuses = [DEAD] if Status.FAILED in statuses else []
        elif Status.FAILED in statuses:
            statuses.append(DEAD)
        operations = [operation.value for operation in SUBMITTABLE if self.operation in {None, operation}]
        return [f"{status}:{operation}:{self.tenant}" for status in statuses for operation in operations]


@dataclass(frozen=True, slots=True)
class Page:
    """Jobs without their results, and the position of the next page; None if this is the last page."""

    jobs: list[Job]
    next: Position | None


class Listing:
    """The index of jobs. Thread-safe.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._list = scripts.register(client, "list", beside=__package__)

    def page(self, job_filter: JobFilter, *, limit: int, after: Position | None = None) -> Page:
        """Return up to `limit` jobs after a position, newest first.

        Jobs that are accepted or completed between two pages do not shift the pages, because a position is a time and
        not an offset.
        """
        index_keys = job_filter.index_keys
        if not index_keys:
            return Page([], None)
        entries: list[tuple[float, str]] = []
        for shard in range(self._shards):
            with store_errors():
                rows = self._list(
                    keys=[keys.queue(shard)],
                    args=[
                        keys.prefix(shard),
                        limit + 1,
                        "-inf" if job_filter.created_after is None else f"({job_filter.created_after!r}",
                        "+inf" if after is None else repr(after.created_at),
                        "" if after is None else after.job_id,
                        *index_keys,
                    ],
                )
            entries += [(float(created_at), job_id.decode()) for job_id, created_at in rows]
        entries.sort(reverse=True)
        page = entries[:limit]
        next_position = Position(*page[-1]) if len(entries) > limit else None
        return Page(self._read([job_id for _, job_id in page]), next_position)

    def _read(self, job_ids: list[str]) -> list[Job]:
        with store_errors(), self._client.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                pipeline.hmget(keys.job(shard_of(job_id), job_id), *LISTED_FIELDS)
            rows = cast("list[list[Any]]", pipeline.execute())
        # A job that has just expired may still be in the index.
        records = (
            {name.encode(): value for name, value in zip(LISTED_FIELDS, row, strict=True) if value is not None}
            for row in rows
            if row[_ID] is not None
        )
        return list(readable("job", records, read_job))

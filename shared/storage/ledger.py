"""The ledger: the truth about every job, one atomic script for each step of its life."""

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

import redis

from shared.errors import ErrorCode, TriedBeforeError, UnavailableError
from shared.jobs import Claim, Job, JobFailure, Provenance, Status, shard_of
from shared.operations import Operation
from shared.storage import keys, scripts
from shared.storage.connection import store_errors
from shared.storage.records import failure_json, provenance_json, read_job, result_json
from shared.storage.results import Results

REAP_MOST: Final = 500
"""Jobs healed in one script run; the rest follows a moment later, so that no run holds the server long."""

WORKER_LOST: Final = JobFailure(
    code=ErrorCode.WORKER_LOST, detail="Every worker that took this job was lost while it ran.", retryable=True
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A job on record: its time of acceptance and the line's depth behind it."""

    created_at: float
    depth: int


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one pass healed, and how many jobs wait."""

    requeued: tuple[str, ...]
    lost: tuple[str, ...]
    pending: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a job ended: a result, or a failure."""

    result: Mapping[str, Any] | None = None
    failure: JobFailure | None = None
    metrics: Mapping[str, float] | None = None
    provenance: Provenance | None = None
    cached_as: str | None = None
    """Digest under which the result cache keeps it, so that erasing the job can erase that too."""


class Ledger:
    """Every step of a job's life against one store. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int, lease: timedelta) -> None:
        self._client = client
        self.shards = shards
        self.lease = lease
        self.results = Results(client, shards=shards)
        self._turns = itertools.count()
        self._accept = scripts.register(client, "accept")
        self._claim = scripts.register(client, "claim")
        self._beat = scripts.register(client, "beat")
        self._finish = scripts.register(client, "finish")
        self._release = scripts.register(client, "release")
        self._reap = scripts.register(client, "reap")

    def accept(
        self,
        job_id: str,
        *,
        operation: Operation,
        params: Mapping[str, Any],
        metadata: Mapping[str, Any],
        image: bytes,
        reference: bytes = b"",
        result_ttl: timedelta,
        limit: int,
    ) -> Accepted:
        """Put a job on record and in line, or refuse it; the same id twice is the same job.

        Raises:
            UnavailableError: `queue_full` when `limit` jobs wait already.
        """
        shard = shard_of(job_id)
        with store_errors():
            answer, created_at, depth = self._accept(
                keys=[
                    keys.job(shard, job_id),
                    keys.pending(shard),
                    keys.image(shard, job_id),
                    keys.reference(shard, job_id),
                ],
                args=[
                    keys.prefix(shard),
                    job_id,
                    -(-limit // self.shards),
                    operation.value,
                    json.dumps(params),
                    json.dumps(metadata),
                    max(1, round(result_ttl.total_seconds())),
                    image,
                    reference,
                ],
            )
        if answer == b"full":
            detail = f"The queue is full: {depth} jobs wait. Nothing was accepted."
            raise UnavailableError(ErrorCode.QUEUE_FULL, detail)
        return Accepted(created_at=float(created_at), depth=int(depth))

    def claim(self, worker: str, *, alone: bool = True) -> Claim | None:
        """Take the longest-waiting job of a shard that has one; each claim begins with the next shard in turn.

        Args:
            worker: who takes it.
            alone: whether this process runs nothing else as long as it has the job.

        Raises:
            TriedBeforeError: the next job in line lost a worker before, and it would not be `alone`; nothing was taken.
        """
        first = next(self._turns)
        for shard in (turn % self.shards for turn in range(first, first + self.shards)):
            with store_errors():
                found = self._claim(
                    keys=[keys.pending(shard), keys.leases(shard)],
                    args=[keys.prefix(shard), worker, self.lease.total_seconds(), int(alone)],
                )
            if found and len(found) == 1:
                raise TriedBeforeError
            if found:
                token, flat, image, reference = found
                fields = dict(zip(flat[::2], flat[1::2], strict=True))
                return Claim(job=read_job(fields), token=token.decode(), image=image, reference=reference)
        return None

    def beat(self, job_id: str, token: str) -> bool:
        """Extend the lease; False when the job is no longer this token's."""
        shard = shard_of(job_id)
        with store_errors():
            held = self._beat(
                keys=[keys.job(shard, job_id), keys.leases(shard)], args=[job_id, token, self.lease.total_seconds()]
            )
        return bool(held)

    def finish(self, job_id: str, token: str, outcome: Outcome) -> bool:
        """Write the job's one end and erase its images; False when the token is stale (fenced): nothing was written."""
        shard = shard_of(job_id)
        status = Status.SUCCEEDED if outcome.failure is None else Status.FAILED
        with store_errors():
            written = self._finish(
                keys=[
                    keys.job(shard, job_id),
                    keys.leases(shard),
                    keys.image(shard, job_id),
                    keys.reference(shard, job_id),
                ],
                args=[
                    keys.prefix(shard),
                    job_id,
                    token,
                    status.value,
                    result_json(outcome.result),
                    failure_json(outcome.failure),
                    json.dumps(outcome.metrics or {}),
                    provenance_json(outcome.provenance),
                    outcome.cached_as or "",
                ],
            )
        return bool(written)

    def release(self, job_id: str, token: str, *, failure: JobFailure | None = None, max_attempts: int) -> bool:
        """Give a claim back; False when the job is no longer this token's.

        Without a `failure` the start does not count. With one it does, and the job fails so where it was the last.
        """
        shard = shard_of(job_id)
        with store_errors():
            released = self._release(
                keys=[
                    keys.job(shard, job_id),
                    keys.pending(shard),
                    keys.leases(shard),
                    keys.image(shard, job_id),
                    keys.reference(shard, job_id),
                ],
                args=[keys.prefix(shard), job_id, token, failure_json(failure), max_attempts],
            )
        return bool(released)

    def reap(self, *, max_attempts: int) -> Reaped:
        """Heal what dead workers left, on every shard."""
        passes = []
        for shard in range(self.shards):
            with store_errors():
                passes.append(
                    self._reap(
                        keys=[keys.pending(shard), keys.leases(shard)],
                        args=[keys.prefix(shard), max_attempts, REAP_MOST, failure_json(WORKER_LOST)],
                    )
                )
        return Reaped(
            requeued=tuple(i.decode() for requeued, _, _ in passes for i in requeued),
            lost=tuple(i.decode() for _, lost, _ in passes for i in lost),
            pending=sum(int(pending) for _, _, pending in passes),
        )

    def read(self, job_id: str) -> Job | None:
        """The job, or None where it never was or has expired."""
        shard = shard_of(job_id)
        if shard >= self.shards:
            return None
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.job(shard, job_id)))
        return read_job(fields) if fields else None

    def statuses(self, job_ids: Sequence[str]) -> list[Status | None]:
        """The status of each job, None for one that never was or has expired: one round trip for all of them."""
        with store_errors(), self._client.pipeline(transaction=False) as asked:
            for job_id in job_ids:
                asked.hget(keys.job(shard_of(job_id), job_id), "status")
            found = cast("list[bytes | None]", asked.execute())
        return [Status(status.decode()) if status else None for status in found]

    def depth(self) -> tuple[int, int]:
        """How many jobs wait, and how many are in work."""
        with store_errors():
            waiting = [self._client.zcard(keys.pending(shard)) for shard in range(self.shards)]
            in_work = [self._client.zcard(keys.leases(shard)) for shard in range(self.shards)]
        return sum(waiting), sum(in_work)

    def ping(self) -> None:
        """Answer only if the ledger does."""
        with store_errors():
            self._client.ping()

    def close(self) -> None:
        """Give the connections back."""
        self._client.close()


def event(message: bytes) -> tuple[str, Status]:
    """Read one message of the events channel: which job, and its new status."""
    job_id, status = message.decode().split(" ", 1)
    return job_id, Status(status)


def event_channels(shards: int) -> Sequence[str]:
    """The channels that carry every transition."""
    return [keys.events(shard) for shard in range(shards)]

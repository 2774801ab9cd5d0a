"""The store of jobs: one atomic script for each step in a job's life."""

import itertools
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, cast

import redis

from shared.errors import ErrorCode, RequestError, TriedBeforeError, UnavailableError
from shared.jobs import DEAD_LETTERS, Claim, Job, JobFailure, NewJob, Provenance, Status, is_batch_id, shard_of
from shared.ledger import keys, scripts
from shared.ledger.admission import Limits, Pressure, refuse_if_full
from shared.ledger.connection import is_cluster, store_errors, subscribe
from shared.ledger.events import read_status
from shared.ledger.idempotency import NO_KEY, Reservation, refuse_if_lost
from shared.ledger.jobs.records import (
    RETRIED_FIELDS,
    failure_json,
    new_job_json,
    pairs,
    provenance_json,
    read_job,
    result_json,
    with_embeddings,
)
from shared.ledger.jobs.result_cache import Results
from shared.liveness_sessions import is_session_id
from shared.observability.request_context import UNKNOWN, RequestContext
from shared.operations import Operation
from shared.tenants import DEFAULT

REAP_MOST: Final = 500
"""Jobs repaired per run of the script, so that no run blocks the server for long. The next run continues."""
RETRY_WINDOW: Final = timedelta(hours=1)

WORKER_LOST: Final = JobFailure(
    code=ErrorCode.WORKER_LOST, detail="Every worker that took this job was lost while it ran.", retryable=True
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """An accepted job: its time of acceptance and the resulting length of the queue."""

    created_at: float
    depth: int


@dataclass(frozen=True, slots=True)
class Reaped:
    """Result of one sweep: repaired jobs, and the number of queued jobs."""

    requeued: tuple[str, ...]
    lost: tuple[str, ...]
    expired: tuple[str, ...]
    queued: int
    away: UnavailableError | None = None
    """Error of an unavailable shard of a cluster. The other shards have been swept."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Outcome of a job: a result or a failure."""

    result: Mapping[str, Any] | None = None
    failure: JobFailure | None = None
    metrics: Mapping[str, float] | None = None
    provenance: Provenance | None = None
    cached_as: str | None = None
    """Digest of the result in the result cache, so that erasing the job also erases that entry."""


class Ledger:
    """The store of jobs. Each step in a job's life is one call. Thread-safe.

    Args:
        client: the connection.
        shards: number of shards.
        lease: how long a claim is valid without a heartbeat.
        retry_window: how long the images of a failed job are kept.
        pressure: memory use of the store. Sharing one object saves queries.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        shards: int,
        lease: timedelta,
        retry_window: timedelta = RETRY_WINDOW,
        pressure: Pressure | None = None,
    ) -> None:
        self._client = client
        self.shards = shards
        self.lease = lease
        self._pressure = pressure or Pressure(client)
        self._results = Results(client, shards=shards)
        self._keep_seconds = round(retry_window.total_seconds())
        self._turns = itertools.count()
        self._accept = scripts.register(client, "accept", beside=__package__)
        self._claim = scripts.register(client, "claim", beside=__package__)
        self._beat = scripts.register(client, "beat", beside=__package__)
        self._finish = scripts.register(client, "finish", beside=__package__)
        self._release = scripts.register(client, "release", beside=__package__)
        self._reap = scripts.register(client, "reap", beside=__package__, parts=("common", "sessions", "clock"))
        self._cancel = scripts.register(client, "cancel", beside=__package__)
        self._delete = scripts.register(client, "delete", beside=__package__)
        self._retry = scripts.register(client, "retry", beside=__package__)

    def accept(self, job: NewJob, *, limits: Limits, under: Reservation = NO_KEY) -> Accepted:
        """Store and queue a job, or refuse it. Submitting the same id twice creates one job.

        Args:
            job: the job.
            limits: limits of the queue and of the tenant.
            under: a sealed reservation of the caller's idempotency key, completed in the same step.

        Raises:
            UnavailableError: `queue_full`.
            RequestError: `idempotency_in_progress`: the reservation has expired and another submission holds the key.
        """
        self._pressure.refuse_if_high()
        shard = shard_of(job.id)
        with store_errors():
            reply = self._accept(
                keys=[keys.job(shard, job.id)],
                args=[
                    keys.prefix(shard),
                    new_job_json(job),
                    *limits.of_one(self.shards),
                    *under.arguments,
                    job.image,
                    job.reference,
                    *job.extra_images,
                ],
            )
        refuse_if_full(reply, limits.of_one(self.shards))
        refuse_if_lost(reply)
        return Accepted(created_at=float(reply[1]), depth=int(reply[2]))

    def claim(self, worker: str, *, alone: bool = True) -> Claim | None:
        """Claim the first queued job of a shard that has one; each claim starts at the next shard.

        A job of an operation that this version does not know stays queued for a newer worker.

        Args:
            worker: the worker that claims the job.
            alone: whether its process runs no other job while it has this one.

        Raises:
            TriedBeforeError: the next queued job lost a worker before, and `alone` is false; nothing was claimed.
        """
        first = next(self._turns)
        outage = None
        for shard in (turn % self.shards for turn in range(first, first + self.shards)):
            try:
                with store_errors():
                    reply = self._claim(
                        keys=[keys.queue(shard)],
                        args=[keys.prefix(shard), worker, self.lease.total_seconds(), int(alone), *Operation],
                    )
            except UnavailableError as error:
                outage = self._shard_outage(error)
                continue
            if reply and len(reply) == 1:
                raise TriedBeforeError
            if reply:
                token, flat, image, reference, extra_images, embeddings = reply
                job = with_embeddings(read_job(pairs(flat)), embeddings)
                return Claim(
                    job=job, token=token.decode(), image=image, reference=reference, extra_images=tuple(extra_images)
                )
        if outage is not None:
            raise outage
        return None

    def _shard_outage(self, error: UnavailableError) -> UnavailableError:
        """Return the error in a cluster, where other shards may still be available. Otherwise raise it."""
        if is_cluster(self._client):
            return error
        raise error

    def beat(self, job_id: str, token: str) -> bool:
        """Extend the lease. Return False if the token no longer holds the job."""
        shard = shard_of(job_id)
        with store_errors():
            extended = self._beat(
                keys=[keys.job(shard, job_id)], args=[keys.prefix(shard), job_id, token, self.lease.total_seconds()]
            )
        return bool(extended)

    def finish(self, job_id: str, token: str, outcome: Outcome) -> bool:
        """Complete the job and erase its images. Return False, without a change, if the token is stale (fenced).

        The images of a job that failed and may be retried are kept for the retry window.
        """
        shard = shard_of(job_id)
        status = Status.SUCCEEDED if outcome.failure is None else Status.FAILED
        with store_errors():
            written = self._finish(
                keys=[keys.job(shard, job_id)],
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
                    self._keep_seconds if outcome.failure and outcome.failure.retryable else 0,
                    int(outcome.failure is not None and outcome.failure.code in DEAD_LETTERS),
                ],
            )
        return bool(written)

    def release(self, job_id: str, token: str, *, failure: JobFailure | None = None, max_attempts: int) -> bool:
        """Give a claim back. Return False if the token no longer holds the job.

        Without a `failure` the attempt does not count. With one it counts, and the last attempt fails the job.
        """
        shard = shard_of(job_id)
        with store_errors():
            released = self._release(
                keys=[keys.job(shard, job_id)],
                args=[keys.prefix(shard), job_id, token, failure_json(failure), max_attempts, self._keep_seconds],
            )
        return bool(released)

    def cancel(self, job_id: str, *, tenant: str = DEFAULT) -> Job:
        """Cancel a queued or running job and return it. A job that is already canceled is returned unchanged.

        Raises:
            RequestError: `job_not_found`; `job_ended` if the job has another terminal status.
        """
        shard = self._shard(job_id)
        with store_errors():
            reply = self._cancel(keys=[keys.job(shard, job_id)], args=[keys.prefix(shard), job_id, tenant])
        if reply[0] == b"none":
            raise no_such_job()
        if reply[0] == b"ended":
            detail = f"The job cannot be canceled: its status is {reply[1].decode()}, which is final."
            raise RequestError(ErrorCode.JOB_ENDED, detail)
        return read_job(pairs(reply[1]))

    def delete(self, job_id: str, *, tenant: str = DEFAULT) -> bool:
        """Erase a job and all its data, in any state. Return False if it does not exist."""
        shard = self._shard(job_id)
        self._results.forget(job_id, tenant=tenant)
        with store_errors():
            return bool(self._delete(keys=[keys.job(shard, job_id)], args=[keys.prefix(shard), job_id, tenant]))

    def retry(
        self, job_id: str, *, new_id: str, limits: Limits, tenant: str = DEFAULT, context: RequestContext = UNKNOWN
    ) -> Job:
        """Create a new job on the same shard for a failed one. Repeated calls return the same new job.

        Raises:
            RequestError: `job_not_found`; `not_retryable` if the job did not fail, would fail the same way again, or
                its images are no longer stored.
            UnavailableError: `queue_full`.
        """
        self._pressure.refuse_if_high()
        shard = self._shard(job_id)
        with store_errors():
            reply = self._retry(
                keys=[keys.job(shard, job_id)],
                args=[
                    keys.prefix(shard),
                    job_id,
                    new_id,
                    tenant,
                    *limits.of_one(self.shards),
                    json.dumps(context.texts),
                    *RETRIED_FIELDS,
                ],
            )
        refuse_if_full(reply, limits.of_one(self.shards))
        if reply[0] == b"none":
            raise no_such_job()
        if reply[0] in NOT_RETRYABLE:
            raise RequestError(ErrorCode.NOT_RETRYABLE, NOT_RETRYABLE[reply[0]])
        job = self.read(reply[1].decode())
        if job is None:  # the job was retried before, and the new job has been erased since
            raise no_such_job()
        return job

    def _shard(self, job_id: str) -> int:
        shard = shard_of(job_id)
        if shard >= self.shards:
            raise no_such_job()
        return shard

    def reap(self, *, max_attempts: int) -> Reaped:
        """Requeue or fail jobs of dead workers and expire overdue jobs, on every available shard."""
        replies, outage = [], None
        arguments = [max_attempts, REAP_MOST, failure_json(WORKER_LOST), self._keep_seconds, self.lease.total_seconds()]
        for shard in range(self.shards):
            try:
                with store_errors():
                    replies.append(self._reap(keys=[keys.queue(shard)], args=[keys.prefix(shard), *arguments]))
            except UnavailableError as error:
                outage = self._shard_outage(error)
        requeued, lost, expired = (tuple(i.decode() for reply in replies for i in reply[kind]) for kind in range(3))
        return Reaped(requeued, lost, expired, queued=sum(int(reply[3]) for reply in replies), away=outage)

    def read(self, job_id: str) -> Job | None:
        """Return the job, or None if it does not exist or has expired."""
        shard = shard_of(job_id)
        if shard >= self.shards:
            return None
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.job(shard, job_id)))
        return read_job(fields) if fields else None

    def statuses(self, job_ids: Sequence[str]) -> list[Status | None]:
        """Return the status of each job in one round trip; None if it does not exist or has expired.

        Ids of batches and sessions are allowed as well: `running`, or None if there is nothing to wait for.
        """
        with store_errors(), self._client.pipeline(transaction=False) as pipeline:
            for job_id in job_ids:
                key = keys.batch if is_batch_id(job_id) else keys.session if is_session_id(job_id) else keys.job
                pipeline.hget(key(shard_of(job_id), job_id), "status")
            statuses = cast("list[bytes | None]", pipeline.execute())
        return [read_status(status.decode()) if status else None for status in statuses]

    def canceled(self, stop: threading.Event) -> Iterator[str]:
        """Yield ids of jobs that are taken from a worker, until `stop`. Messages during a lost connection are lost."""
        return subscribe(self._client, [keys.cancels(shard) for shard in range(self.shards)], stop)

    def depth(self) -> tuple[int, int]:
        """Return the number of queued and of running jobs."""
        with store_errors():
            queued = [self._client.zcard(keys.queue(shard)) for shard in range(self.shards)]
            running = [self._client.zcard(keys.leases(shard)) for shard in range(self.shards)]
        return sum(queued), sum(running)


def no_such_job() -> RequestError:
    """Return the error for an unknown job id."""
    return RequestError(ErrorCode.JOB_NOT_FOUND, "No job with this id exists. It may have expired.")


NOT_RETRYABLE: Final = {
    b"not_failed": "Only a failed job can be retried; this one did not fail.",
    b"final": "The job would fail again: its error is not retryable. Correct the input and submit a new job.",
    b"gone": "The images of this job are no longer stored. Submit a new job.",
}

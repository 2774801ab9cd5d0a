"""The store of jobs: one atomic script for each step in the life of a job."""

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
from shared.ledger.admission import Limits, Pressure, refuse_where_full
from shared.ledger.connection import heard, is_cluster, store_errors
from shared.ledger.events import read_status
from shared.ledger.idempotency import NO_KEY, Reservation, refuse_where_lost
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
"""Jobs healed in one script run; the rest follows a moment later, so that no run holds the server long."""
RETRY_WINDOW: Final = timedelta(hours=1)

WORKER_LOST: Final = JobFailure(
    code=ErrorCode.WORKER_LOST, detail="Every worker that took this job was lost while it ran.", retryable=True
)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A recorded job or batch: its time of acceptance and the depth of the queue after it."""

    created_at: float
    depth: int


@dataclass(frozen=True, slots=True)
class Reaped:
    """What one pass healed, and how many jobs wait."""

    requeued: tuple[str, ...]
    lost: tuple[str, ...]
    expired: tuple[str, ...]
    queued: int
    away: UnavailableError | None = None
    """What a shard of a cluster said that could not be reached; the others have been served."""


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
    """The jobs: each step in the life of a job is one call. Safe to share between threads.

    Args:
        client: the connection.
        shards: how many shards the keys are spread over.
        lease: how long a claim is good for without a beat.
        retry_window: how long the images of a failed job stay.
        pressure: how full the store is; those who share one ask the store less often.

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
        self._kept = round(retry_window.total_seconds())
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
        """Record and queue a job, or refuse it; submitting the same id twice is the same job.

        Args:
            job: what to do.
            limits: how much may wait already.
            under: a sealed reservation of the caller's idempotency key, settled in the same step.

        Raises:
            UnavailableError: `queue_full`.
            RequestError: `idempotency_in_progress`: the reservation took too long, the key is another's now.
        """
        self._pressure.refuse_where_high()
        shard = shard_of(job.id)
        with store_errors():
            answer = self._accept(
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
        refuse_where_full(answer, limits.of_one(self.shards))
        refuse_where_lost(answer)
        return Accepted(created_at=float(answer[1]), depth=int(answer[2]))

    def claim(self, worker: str, *, alone: bool = True) -> Claim | None:
        """Claim the first queued job of a shard that has one; each claim starts at the next shard.

        A job of an operation that this version does not know stays queued for a newer worker.

        Args:
            worker: who takes it.
            alone: whether this process runs nothing else as long as it has the job.

        Raises:
            TriedBeforeError: the next queued job lost a worker before, and `alone` is false; nothing was claimed.
        """
        first = next(self._turns)
        away = None
        for shard in (turn % self.shards for turn in range(first, first + self.shards)):
            try:
                with store_errors():
                    found = self._claim(
                        keys=[keys.queue(shard)],
                        args=[keys.prefix(shard), worker, self.lease.total_seconds(), int(alone), *Operation],
                    )
            except UnavailableError as error:
                away = self._alone(error)
                continue
            if found and len(found) == 1:
                raise TriedBeforeError
            if found:
                token, flat, image, reference, extra_images, embeddings = found
                job = with_embeddings(read_job(pairs(flat)), embeddings)
                return Claim(
                    job=job, token=token.decode(), image=image, reference=reference, extra_images=tuple(extra_images)
                )
        if away is not None:
            raise away
        return None

    def _alone(self, error: UnavailableError) -> UnavailableError:
        """The error again, where other shards may still answer: in a cluster one is away alone."""
        if is_cluster(self._client):
            return error
        raise error

    def beat(self, job_id: str, token: str) -> bool:
        """Extend the lease; False when the job is no longer this token's."""
        shard = shard_of(job_id)
        with store_errors():
            held = self._beat(
                keys=[keys.job(shard, job_id)], args=[keys.prefix(shard), job_id, token, self.lease.total_seconds()]
            )
        return bool(held)

    def finish(self, job_id: str, token: str, outcome: Outcome) -> bool:
        """Write the job's one end and erase its images; False when the token is stale (fenced): nothing was written.

        The images of a job that failed and may be retried stay for the retry window.
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
                    self._kept if outcome.failure and outcome.failure.retryable else 0,
                    int(outcome.failure is not None and outcome.failure.code in DEAD_LETTERS),
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
                keys=[keys.job(shard, job_id)],
                args=[keys.prefix(shard), job_id, token, failure_json(failure), max_attempts, self._kept],
            )
        return bool(released)

    def cancel(self, job_id: str, *, tenant: str = DEFAULT) -> Job:
        """End a job that waits or runs, now; one that was canceled before is answered again.

        Raises:
            RequestError: `job_not_found`, or `job_ended` where it has another end.
        """
        shard = self._shard(job_id)
        with store_errors():
            answer = self._cancel(keys=[keys.job(shard, job_id)], args=[keys.prefix(shard), job_id, tenant])
        if answer[0] == b"none":
            raise no_such_job()
        if answer[0] == b"ended":
            raise RequestError(ErrorCode.JOB_ENDED, f"The job has {answer[1].decode()}; an end never changes.")
        return read_job(pairs(answer[1]))

    def delete(self, job_id: str, *, tenant: str = DEFAULT) -> bool:
        """Erase a job and all that is kept of it, whatever its state; False where there was none."""
        shard = self._shard(job_id)
        self._results.forget(job_id, tenant=tenant)
        with store_errors():
            return bool(self._delete(keys=[keys.job(shard, job_id)], args=[keys.prefix(shard), job_id, tenant]))

    def retry(
        self, job_id: str, *, new_id: str, limits: Limits, tenant: str = DEFAULT, context: RequestContext = UNKNOWN
    ) -> Job:
        """A new job, on the same shard, for one that failed and may be retried; however often asked, it is one.

        Raises:
            RequestError: `job_not_found`; `not_retryable` where it did not fail, would fail so again, or its images
                are gone.
            UnavailableError: `queue_full`.
        """
        self._pressure.refuse_where_high()
        shard = self._shard(job_id)
        with store_errors():
            answer = self._retry(
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
        refuse_where_full(answer, limits.of_one(self.shards))
        if answer[0] == b"none":
            raise no_such_job()
        if answer[0] in NOT_RETRYABLE:
            raise RequestError(ErrorCode.NOT_RETRYABLE, NOT_RETRYABLE[answer[0]])
        job = self.read(answer[1].decode())
        if job is None:  # it was retried before, and what came of it has been erased since
            raise no_such_job()
        return job

    def _shard(self, job_id: str) -> int:
        shard = shard_of(job_id)
        if shard >= self.shards:
            raise no_such_job()
        return shard

    def reap(self, *, max_attempts: int) -> Reaped:
        """Heal what dead workers left, and end what waited too long, on every shard that can be reached."""
        passes, away = [], None
        arguments = [max_attempts, REAP_MOST, failure_json(WORKER_LOST), self._kept, self.lease.total_seconds()]
        for shard in range(self.shards):
            try:
                with store_errors():
                    passes.append(self._reap(keys=[keys.queue(shard)], args=[keys.prefix(shard), *arguments]))
            except UnavailableError as error:
                away = self._alone(error)
        requeued, lost, expired = (tuple(i.decode() for healed in passes for i in healed[kind]) for kind in range(3))
        return Reaped(requeued, lost, expired, queued=sum(int(healed[3]) for healed in passes), away=away)

    def read(self, job_id: str) -> Job | None:
        """The job, or None where it never was or has expired."""
        shard = shard_of(job_id)
        if shard >= self.shards:
            return None
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.job(shard, job_id)))
        return read_job(fields) if fields else None

    def statuses(self, job_ids: Sequence[str]) -> list[Status | None]:
        """The status of each job, None for one that never was or has expired: one round trip for all of them.

        A batch or a session may be named as well: it is running, or None where nothing is left to wait for.
        """
        with store_errors(), self._client.pipeline(transaction=False) as asked:
            for job_id in job_ids:
                key = keys.batch if is_batch_id(job_id) else keys.session if is_session_id(job_id) else keys.job
                asked.hget(key(shard_of(job_id), job_id), "status")
            found = cast("list[bytes | None]", asked.execute())
        return [read_status(status.decode()) if status else None for status in found]

    def canceled(self, stop: threading.Event) -> Iterator[str]:
        """The ids of jobs that are taken from a worker from now on, until `stop`; a gap is not made up for."""
        return heard(self._client, [keys.cancels(shard) for shard in range(self.shards)], stop)

    def depth(self) -> tuple[int, int]:
        """How many jobs wait, and how many are in work."""
        with store_errors():
            waiting = [self._client.zcard(keys.queue(shard)) for shard in range(self.shards)]
            in_work = [self._client.zcard(keys.leases(shard)) for shard in range(self.shards)]
        return sum(waiting), sum(in_work)


def no_such_job() -> RequestError:
    """What is said of an id that no job has."""
    return RequestError(ErrorCode.JOB_NOT_FOUND, "There is no job with this id, or it has expired.")


NOT_RETRYABLE: Final = {
    b"not_failed": "Only a failed job can be retried; this one did not fail.",
    b"final": "The job would fail the same way again: its error is not retryable. Mend the input, and submit it anew.",
    b"gone": "The images of this job are no longer kept. Submit it anew.",
}

"""Batches: jobs that are accepted in one step, counted together, and complete with one event."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

import redis

from shared.errors import ErrorCode, UnavailableError
from shared.jobs import Batch, Job, NewJob, shard_of
from shared.ledger import keys, scripts
from shared.ledger.admission import Limits, refuse_if_full
from shared.ledger.connection import store_errors
from shared.ledger.idempotency import NO_KEY, Reservation, refuse_if_lost
from shared.ledger.jobs.records import new_job_json, read_batch, read_job, readable
from shared.ledger.jobs.result_cache import Results
from shared.observability.request_context import UNKNOWN, RequestContext
from shared.tenants import DEFAULT
from shared.webhooks.schemas import Webhook, webhook_json

STAGED: Final = timedelta(minutes=10)
"""Lifetime of staged images. They expire if the gateway dies before the batch is accepted."""
AT_ONCE: Final = 8 * 1024 * 1024
"""Bytes of images per request, so that other clients do not wait long for the server."""


class Batches:
    """The store of batches. A batch and its jobs are on one shard. Thread-safe.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._results = Results(client, shards=shards)
        self._shards = shards
        self._accept = scripts.register(client, "accept_batch", beside=__package__)
        self._cancel = scripts.register(client, "cancel_batch", beside=__package__)
        self._delete = scripts.register(client, "delete_batch", beside=__package__)

    def accept(
        self,
        batch_id: str,
        jobs: Sequence[NewJob],
        *,
        metadata: Mapping[str, Any],
        limits: Limits,
        result_ttl: timedelta,
        webhook: Webhook | None = None,
        context: RequestContext = UNKNOWN,
        under: Reservation = NO_KEY,
        tenant: str = DEFAULT,
    ) -> float:
        """Store all jobs of a batch in one step, or none. Return the time of acceptance.

        A batch is accepted if one more job would be, so it may make the queue longer than its limit.

        Raises:
            UnavailableError: `queue_full`.
            RequestError: `idempotency_in_progress`.
        """
        shard = shard_of(batch_id)
        self._stage(shard, jobs)
        fields = {
            "metadata": json.dumps(dict(metadata)),
            "tenant": tenant,
            "ttl": str(max(1, round(result_ttl.total_seconds()))),
            **context.texts,
            **({} if webhook is None else {"webhook": webhook_json(webhook)}),
        }
        with store_errors():
            reply = self._accept(
                keys=[keys.batch(shard, batch_id)],
                args=[
                    keys.prefix(shard),
                    batch_id,
                    json.dumps(fields),
                    f"[{','.join(new_job_json(job, staged=True) for job in jobs)}]",
                    *limits.of_one(self._shards),
                    *under.arguments,
                ],
            )
        if reply[0] not in {b"accepted", b"known"}:
            self._unstage(shard, jobs)
        refuse_if_full(reply, limits.of_one(self._shards))
        refuse_if_lost(reply)
        if reply[0] == b"unstaged":
            detail = "Storing the images of the batch took too long. Nothing was accepted."
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, detail)
        return float(reply[1])

    def read(self, batch_id: str, *, tenant: str = DEFAULT) -> Batch | None:
        """Return the batch, or None if the tenant has no batch with this id."""
        shard = shard_of(batch_id)
        if shard >= self._shards:
            return None
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.batch(shard, batch_id)))
        batch = read_batch(fields) if fields else None
        return batch if batch is not None and batch.tenant == tenant else None

    def jobs(self, batch_id: str, *, start: int, count: int) -> list[tuple[int, Job]]:
        """Return up to `count` jobs with their positions, in the order of the items. Erased jobs are omitted."""
        shard = shard_of(batch_id)
        with store_errors():
            ids = cast(
                "list[bytes]",
                self._client.lrange(keys.batch_jobs(shard, batch_id), start, start + count - 1) if count else [],
            )
            with self._client.pipeline(transaction=False) as pipeline:
                for job_id in ids:
                    pipeline.hgetall(keys.job(shard, job_id.decode()))
                rows = cast("list[dict[bytes, bytes]]", pipeline.execute())
        present = ((position, row) for position, row in enumerate(rows, start) if row)
        return list(readable("job", present, lambda item: (item[0], read_job(item[1]))))

    def cancel(self, batch_id: str, *, tenant: str = DEFAULT) -> Batch | None:
        """Cancel all unfinished jobs of a batch. Return the batch, or None if it does not exist."""
        shard = shard_of(batch_id)
        if shard >= self._shards:
            return None
        with store_errors():
            self._cancel(keys=[keys.batch(shard, batch_id)], args=[keys.prefix(shard), batch_id, tenant])
        return self.read(batch_id, tenant=tenant)

    def delete(self, batch_id: str, *, tenant: str = DEFAULT) -> bool:
        """Erase a batch with all its jobs, in any state. Return False if it does not exist."""
        shard = shard_of(batch_id)
        if shard >= self._shards:
            return False
        with store_errors():
            ids = cast("list[bytes]", self._client.lrange(keys.batch_jobs(shard, batch_id), 0, -1))
        for job_id in ids:
            self._results.forget(job_id.decode(), tenant=tenant)
        with store_errors():
            return bool(self._delete(keys=[keys.batch(shard, batch_id)], args=[keys.prefix(shard), batch_id, tenant]))

    def _stage(self, shard: int, jobs: Sequence[NewJob]) -> None:
        """Store the images of the jobs ahead of acceptance. They expire unless the batch is accepted."""
        for part in _parts(jobs):
            with store_errors(), self._client.pipeline(transaction=False) as pipeline:
                for job in part:
                    if job.image:
                        pipeline.set(keys.image(shard, job.id), job.image, px=STAGED)
                    if job.reference:
                        pipeline.set(keys.reference(shard, job.id), job.reference, px=STAGED)
                    if job.extra_images:
                        pipeline.delete(keys.extra_images(shard, job.id))
                        pipeline.rpush(keys.extra_images(shard, job.id), *job.extra_images)
                        pipeline.pexpire(keys.extra_images(shard, job.id), STAGED)
                pipeline.execute()

    def _unstage(self, shard: int, jobs: Sequence[NewJob]) -> None:
        with store_errors(), self._client.pipeline(transaction=False) as pipeline:
            for job in jobs:
                pipeline.delete(keys.image(shard, job.id))  # one by one: a cluster pipeline allows one key per DEL
                pipeline.delete(keys.reference(shard, job.id))
                pipeline.delete(keys.extra_images(shard, job.id))
            pipeline.execute()


def _parts(jobs: Sequence[NewJob]) -> list[list[NewJob]]:
    """Split the jobs so that each part exceeds `AT_ONCE` bytes by at most one job."""
    parts: list[list[NewJob]] = [[]]
    size = 0
    for job in jobs:
        if size > AT_ONCE:
            parts.append([])
            size = 0
        parts[-1].append(job)
        size += len(job.image) + len(job.reference) + sum(map(len, job.extra_images))
    return parts

"""Batches: many jobs that are accepted in one step, counted together, and end with one event."""

import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, cast

import redis

from shared.errors import ErrorCode, UnavailableError
from shared.jobs import Batch, Job, NewJob, shard_of
from shared.ledger import keys, scripts
from shared.ledger.admission import Limits, refuse_where_full
from shared.ledger.connection import store_errors
from shared.ledger.idempotency import NO_KEY, Reservation, refuse_where_lost
from shared.ledger.jobs.records import new_job_json, read_batch, read_job, readable
from shared.ledger.jobs.result_cache import Results
from shared.observability.request_context import UNKNOWN, RequestContext
from shared.tenants import DEFAULT
from shared.webhooks.schemas import Webhook, webhook_json

STAGED: Final = timedelta(minutes=10)
"""How long images stay that were put there for a batch which then was not accepted: a gateway died in between."""
AT_ONCE: Final = 8 * 1024 * 1024
"""Bytes of images sent in one go, so that no other client waits long for the server."""


class Batches:
    """Batches of jobs, each on one shard with all its jobs. Safe to share between threads.

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
        """Put all jobs of a batch on record in one step, or none; its time of acceptance.

        A batch is accepted whole if one more job would be: it may make the queue longer than its limit.

        Raises:
            UnavailableError: `queue_full`.
            RequestError: `idempotency_in_progress`.
        """
        shard = shard_of(batch_id)
        for part in _parts(jobs):
            with store_errors(), self._client.pipeline(transaction=False) as staged:
                for job in part:
                    if job.image:
                        staged.set(keys.image(shard, job.id), job.image, px=STAGED)
                    if job.reference:
                        staged.set(keys.reference(shard, job.id), job.reference, px=STAGED)
                    if job.extra_images:
                        staged.delete(keys.extra_images(shard, job.id))
                        staged.rpush(keys.extra_images(shard, job.id), *job.extra_images)
                        staged.pexpire(keys.extra_images(shard, job.id), STAGED)
                staged.execute()
        fields = {
            "metadata": json.dumps(dict(metadata)),
            "tenant": tenant,
            "ttl": str(max(1, round(result_ttl.total_seconds()))),
            **context.texts,
        }
        if webhook is not None:
            fields["webhook"] = webhook_json(webhook)
        with store_errors():
            answer = self._accept(
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
        if answer[0] not in {b"accepted", b"known"}:
            self._unstage(shard, jobs)
        refuse_where_full(answer, limits.of_one(self._shards))
        refuse_where_lost(answer)
        if answer[0] == b"unstaged":
            detail = "The images of the batch took too long to get to the job store; nothing was accepted."
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, detail)
        return float(answer[1])

    def read(self, batch_id: str, *, tenant: str = DEFAULT) -> Batch | None:
        """The batch, or None where the tenant has none of this id, or no more."""
        shard = shard_of(batch_id)
        if shard >= self._shards:
            return None
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.batch(shard, batch_id)))
        batch = read_batch(fields) if fields else None
        return batch if batch is not None and batch.tenant == tenant else None

    def jobs(self, batch_id: str, *, start: int, count: int) -> list[tuple[int, Job]]:
        """So many of its jobs with their numbers, in the order of the items; those that are gone are left out."""
        shard = shard_of(batch_id)
        with store_errors():
            ids = cast(
                "list[bytes]",
                self._client.lrange(keys.batch_jobs(shard, batch_id), start, start + count - 1) if count else [],
            )
            with self._client.pipeline(transaction=False) as asked:
                for job_id in ids:
                    asked.hgetall(keys.job(shard, job_id.decode()))
                rows = cast("list[dict[bytes, bytes]]", asked.execute())
        present = ((number, row) for number, row in enumerate(rows, start) if row)
        return list(readable("job", present, lambda numbered: (numbered[0], read_job(numbered[1]))))

    def cancel(self, batch_id: str, *, tenant: str = DEFAULT) -> Batch | None:
        """End what has not ended; the batch then, or None where there is none."""
        shard = shard_of(batch_id)
        if shard >= self._shards:
            return None
        with store_errors():
            self._cancel(keys=[keys.batch(shard, batch_id)], args=[keys.prefix(shard), batch_id, tenant])
        return self.read(batch_id, tenant=tenant)

    def delete(self, batch_id: str, *, tenant: str = DEFAULT) -> bool:
        """Erase a batch with all its jobs, whatever their state; False where there was none."""
        shard = shard_of(batch_id)
        if shard >= self._shards:
            return False
        with store_errors():
            ids = cast("list[bytes]", self._client.lrange(keys.batch_jobs(shard, batch_id), 0, -1))
        for job_id in ids:
            self._results.forget(job_id.decode(), tenant=tenant)
        with store_errors():
            return bool(self._delete(keys=[keys.batch(shard, batch_id)], args=[keys.prefix(shard), batch_id, tenant]))

    def _unstage(self, shard: int, jobs: Sequence[NewJob]) -> None:
        with store_errors(), self._client.pipeline(transaction=False) as undone:
            for job in jobs:
                undone.delete(keys.image(shard, job.id))  # one by one: in a cluster's pipeline a DEL has one key
                undone.delete(keys.reference(shard, job.id))
                undone.delete(keys.extra_images(shard, job.id))
            undone.execute()


def _parts(jobs: Sequence[NewJob]) -> list[list[NewJob]]:
    parts: list[list[NewJob]] = [[]]
    size = 0
    for job in jobs:
        if size > AT_ONCE:
            parts.append([])
            size = 0
        parts[-1].append(job)
        size += len(job.image) + len(job.reference) + sum(map(len, job.extra_images))
    return parts

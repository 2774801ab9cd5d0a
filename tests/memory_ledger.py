"""The ledger in dictionaries, for tests of the gateway: the same promises, no server."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import (
    Batch,
    BatchStatus,
    Claim,
    Job,
    JobFailure,
    NewJob,
    Priority,
    Status,
    Transition,
)
from shared.storage.admission import Limits
from shared.storage.batches import Batches
from shared.storage.fetches import Fetch, Fetches
from shared.storage.idempotency import NO_KEY, Idempotency, Known, Reservation, in_progress
from shared.storage.ledger import NOT_RETRYABLE, Accepted, Ledger, Outcome, no_such_job
from shared.storage.listing import JobFilter, Listing, Page, Position
from shared.storage.results import Results

ORDER = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


@dataclass
class Record:
    """A job with what its answer does not show."""

    job: Job
    new: NewJob
    images: tuple[bytes, bytes] | None
    token: str | None = None
    digest: str = ""


@dataclass
class BatchRecord:
    """A batch, its jobs in the order of the items, and its time to live."""

    batch: Batch
    jobs: list[str] = field(default_factory=list)
    ttl: timedelta = timedelta(hours=1)


class MemoryLedger(Ledger):
    """A ledger in a dictionary. `broken` makes every call fail as if the store were away."""

    batches: "MemoryBatches"
    idempotency: "MemoryIdempotency"
    fetches: "MemoryFetches"

    def __init__(self, *, shards: int = 1) -> None:
        self.shards = shards
        self.broken = False
        self.reads = 0
        self.now = 1_700_000_000.0
        self.listeners: list[Callable[[str, Status | None], None]] = []
        self.records: dict[str, Record] = {}
        self.pending: list[str] = []
        self.lock = threading.RLock()
        self.results = _NoResults()
        self.batches = MemoryBatches(self)
        self.listing = MemoryListing(self)
        self.idempotency = MemoryIdempotency(self)
        self.fetches = MemoryFetches(self)

    @property
    def ttls(self) -> dict[str, timedelta]:
        """How long each job can be read once it has ended."""
        return {job_id: record.new.result_ttl for job_id, record in self.records.items()}

    def step(self) -> float:
        """One step of the clock, if the store answers."""
        if self.broken:
            raise UnavailableError(ErrorCode.STORE_UNAVAILABLE, "The job store cannot be reached just now.")
        self.now += 0.001
        return self.now

    def tell(self, about: str, status: Status | None) -> None:
        """Publish."""
        for listener in self.listeners:
            listener(about, status)

    def move(self, job_id: str, status: Status, **more: Any) -> Job:
        """Every change of a status."""
        record = self.records[job_id]
        step = Transition(len(record.job.history) + 1, status, self.now)
        record.job = replace(record.job, status=status, history=(*record.job.history, step), **more)
        self.tell(job_id, status)
        return record.job

    def conclude(self, job_id: str, status: Status, **more: Any) -> Job:
        """Every end."""
        record = self.records[job_id]
        record.token = None
        if not (record.images and (failure := more.get("error")) and failure.retryable):
            record.images = None
        if job_id in self.pending:
            self.pending.remove(job_id)
        self.fetches.held.pop(job_id, None)
        ended = self.move(
            job_id,
            status,
            finished_at=self.now,
            expires_at=self.now + record.new.result_ttl.total_seconds(),
            **more,
        )
        if ended.batch:
            self.batches.settle(ended.batch)
        return ended

    def refuse_where_full(self, limits: Limits) -> None:
        """Back-pressure."""
        if len(self.pending) + len(self.fetches.held) >= limits.depth:
            raise UnavailableError(ErrorCode.QUEUE_FULL, "The queue is full. Nothing was accepted.")

    def admit(self, new: NewJob, *, batch: str | None = None, retry_of: str | None = None) -> Job:
        """Every birth."""
        job = Job(
            id=new.id,
            operation=new.operation,
            status=Status.QUEUED,
            created_at=self.now,
            params=dict(new.params),
            metadata=dict(new.metadata),
            priority=new.priority,
            start_by=None if new.start_within is None else self.now + new.start_within.total_seconds(),
            batch=batch,
            retry_of=retry_of,
        )
        self.records[new.id] = Record(job, new, (new.image, new.reference))
        if new.refused:
            return self.conclude(new.id, Status.FAILED, error=new.refused)
        if new.image_url or new.reference_url:
            self.fetches.held[new.id] = 0.0
        else:
            self.pending.append(new.id)
        return self.move(new.id, Status.QUEUED)

    def settle_key(self, under: Reservation, about: str) -> None:
        """The key of a submission now stands for this job or batch."""
        if not under.digest:
            return
        if self.idempotency.kept.get(under.digest) != under.token:
            raise in_progress()
        self.idempotency.kept[under.digest] = Known(about, under.fingerprint)
        if about in self.records:
            self.records[about].digest = under.digest

    def accept(self, job: NewJob, *, limits: Limits, under: Reservation = NO_KEY) -> Accepted:
        with self.lock:
            now = self.step()
            if job.id not in self.records:
                self.refuse_where_full(limits)
                if under.digest and self.idempotency.kept.get(under.digest) != under.token:
                    raise in_progress()
                self.admit(job)
                self.settle_key(under, job.id)
            return Accepted(created_at=now, depth=len(self.pending))

    def claim(self, worker: str, *, alone: bool = True) -> Claim | None:  # noqa: ARG002 - no worker of it is lost
        with self.lock:
            now = self.step()
            if not self.pending:
                return None
            job_id = min(self.pending, key=lambda i: ORDER[self.records[i].job.priority])
            self.pending.remove(job_id)
            record = self.records[job_id]
            record.token = f"{worker}:{record.job.attempts + 1}"
            job = self.move(job_id, Status.RUNNING, started_at=now, attempts=record.job.attempts + 1)
            image, reference = record.images or (b"", b"")
            return Claim(job=job, token=record.token, image=image, reference=reference or None)

    def finish(self, job_id: str, token: str, outcome: Outcome) -> bool:
        with self.lock:
            self.step()
            record = self.records.get(job_id)
            if record is None or record.token != token:
                return False
            self.conclude(
                job_id,
                Status.SUCCEEDED if outcome.failure is None else Status.FAILED,
                result=dict(outcome.result) if outcome.result is not None else None,
                error=outcome.failure,
                metrics=dict(outcome.metrics or {}),
                provenance=outcome.provenance,
            )
            return True

    def cancel(self, job_id: str) -> Job:
        with self.lock:
            self.step()
            record = self.records.get(job_id)
            if record is None:
                raise no_such_job()
            if record.job.status is Status.CANCELED:
                return record.job
            if record.job.status.is_terminal:
                raise RequestError(ErrorCode.JOB_ENDED, f"The job has {record.job.status}; an end never changes.")
            return self.conclude(job_id, Status.CANCELED)

    def delete(self, job_id: str) -> bool:
        with self.lock:
            self.step()
            if job_id not in self.records:
                return False
            if not self.records[job_id].job.status.is_terminal:
                self.conclude(job_id, Status.CANCELED)
            self.idempotency.kept.pop(self.records.pop(job_id).digest, None)
            self.tell(job_id, None)
            return True

    def retry(self, job_id: str, *, new_id: str, limits: Limits) -> Job:
        with self.lock:
            self.step()
            record = self.records.get(job_id)
            if record is None:
                raise no_such_job()
            old = record.job
            if old.retried_as:
                return self.records[old.retried_as].job
            refused = b"not_failed" if old.status is not Status.FAILED else None
            refused = refused or (b"final" if not (old.error and old.error.retryable) else None)
            refused = refused or (b"gone" if record.images is None else None)
            if refused:
                raise RequestError(ErrorCode.NOT_RETRYABLE, NOT_RETRYABLE[refused])
            self.refuse_where_full(limits)
            record.images = None
            record.job = replace(old, retried_as=new_id)
            return self.admit(replace(record.new, id=new_id, start_within=None), retry_of=job_id)

    def read(self, job_id: str) -> Job | None:
        with self.lock:
            self.step()
            self.reads += 1
            record = self.records.get(job_id)
            return record.job if record else None

    def statuses(self, job_ids: Sequence[str]) -> list[Status | None]:
        with self.lock:
            self.step()
            self.reads += len(job_ids)
            return [self.records[job_id].job.status if job_id in self.records else None for job_id in job_ids]

    def forget(self, job_id: str) -> None:
        """The job's time to live is over."""
        with self.lock:
            del self.records[job_id]

    def depth(self) -> tuple[int, int]:
        with self.lock:
            self.step()
            return len(self.pending), sum(record.token is not None for record in self.records.values())

    def ping(self) -> None:
        self.step()

    def close(self) -> None:
        pass


class _NoResults(Results):
    """A cache that keeps nothing."""

    def __init__(self) -> None:
        pass

    def forget(self, job_id: str) -> None:
        pass


class MemoryBatches(Batches):
    """Batches in a dictionary."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self.kept: dict[str, BatchRecord] = {}

    def accept(
        self,
        batch_id: str,
        jobs: Sequence[NewJob],
        *,
        metadata: Mapping[str, Any],
        limits: Limits,
        result_ttl: timedelta,
        webhook: Mapping[str, Any] | None = None,  # noqa: ARG002 - nobody is told here
        under: Reservation = NO_KEY,
    ) -> float:
        with self._ledger.lock:
            now = self._ledger.step()
            self._ledger.refuse_where_full(limits)
            batch = Batch(batch_id, BatchStatus.RUNNING, now, len(jobs), {}, dict(metadata))
            self._ledger.settle_key(under, batch_id)
            self.kept[batch_id] = BatchRecord(batch, [job.id for job in jobs], result_ttl)
            for job in jobs:
                self._ledger.admit(job, batch=batch_id)
            return now

    def settle(self, batch_id: str) -> None:
        """One of its jobs has ended."""
        record = self.kept.get(batch_id)
        ledger = self._ledger
        if record and all(job in ledger.records and ledger.records[job].job.status.is_terminal for job in record.jobs):
            record.batch = replace(
                record.batch,
                status=BatchStatus.COMPLETED,
                finished_at=ledger.now,
                expires_at=ledger.now + record.ttl.total_seconds(),
            )
            ledger.tell(batch_id, None)

    def read(self, batch_id: str) -> Batch | None:
        with self._ledger.lock:
            self._ledger.step()
            record = self.kept.get(batch_id)
            if record is None:
                return None
            counts = dict.fromkeys(Status, 0)
            for job_id in record.jobs:
                if job_id in self._ledger.records:
                    counts[self._ledger.records[job_id].job.status] += 1
            return replace(record.batch, counts=counts)

    def jobs(self, batch_id: str, *, start: int, count: int) -> list[tuple[int, Job]]:
        with self._ledger.lock:
            self._ledger.step()
            ids = self.kept[batch_id].jobs if batch_id in self.kept else []
            numbered = list(enumerate(ids))[start : start + count]
            return [(n, self._ledger.records[i].job) for n, i in numbered if i in self._ledger.records]

    def cancel(self, batch_id: str) -> Batch | None:
        with self._ledger.lock:
            for job_id in self.kept[batch_id].jobs if batch_id in self.kept else []:
                if not self._ledger.records[job_id].job.status.is_terminal:
                    self._ledger.cancel(job_id)
            return self.read(batch_id)

    def delete(self, batch_id: str) -> bool:
        with self._ledger.lock:
            self._ledger.step()
            record = self.kept.pop(batch_id, None)
            for job_id in record.jobs if record else []:
                self._ledger.delete(job_id)
            if record:
                self._ledger.tell(batch_id, None)
            return record is not None


class MemoryListing(Listing):
    """The index: every job looked at."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger

    def page(self, wanted: JobFilter, *, limit: int, after: Position | None = None) -> Page:
        with self._ledger.lock:
            self._ledger.step()
            jobs = [record.job for record in self._ledger.records.values() if _meant(record.job, wanted)]
            jobs.sort(key=lambda job: (job.created_at, job.id), reverse=True)
            if after:
                jobs = [job for job in jobs if (job.created_at, job.id) < (after.created_at, after.job_id)]
            more = Position(jobs[limit - 1].created_at, jobs[limit - 1].id) if len(jobs) > limit else None
            return Page([replace(job, result=None) for job in jobs[:limit]], more)


def _meant(job: Job, wanted: JobFilter) -> bool:
    return (
        wanted.status in {None, job.status}
        and wanted.operation in {None, job.operation}
        and (wanted.created_after is None or job.created_at > wanted.created_after)
        and (not wanted.dead_lettered or job.dead_lettered)
    )


class MemoryIdempotency(Idempotency):
    """Keys in a dictionary: a token where one is held, else what it led to."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self.kept: dict[str, str | Known] = {}

    def begin(self, scope: str, key: str) -> Reservation:
        with self._ledger.lock:
            now = self._ledger.step()
            digest = f"{scope} {key}"
            kept = self.kept.get(digest)
            if isinstance(kept, str):
                raise in_progress()
            if kept is not None:
                return Reservation(shard=0, digest=digest, token="", known=kept)
            self.kept[digest] = token = str(now)
            return Reservation(shard=0, digest=digest, token=token)

    def abandon(self, reservation: Reservation) -> None:
        with self._ledger.lock:
            self._ledger.step()
            if self.kept.get(reservation.digest) == reservation.token:
                del self.kept[reservation.digest]


class MemoryFetches(Fetches):
    """The line before the line: ids, and until when each is held."""

    def __init__(self, ledger: MemoryLedger) -> None:
        self._ledger = ledger
        self.held: dict[str, float] = {}

    def take(self, *, most: int, hold: timedelta) -> list[Fetch]:
        with self._ledger.lock:
            now = self._ledger.step()
            due = [job_id for job_id, until in self.held.items() if until <= now][:most]
            self.held |= dict.fromkeys(due, now + hold.total_seconds())
            records = [self._ledger.records[job_id].new for job_id in due]
            return [Fetch(new.id, new.image_url, new.reference_url) for new in records]

    def supply(self, job_id: str, *, image: bytes | None, reference: bytes | None) -> bool:
        with self._ledger.lock:
            self._ledger.step()
            if self.held.pop(job_id, None) is None:
                return False
            record = self._ledger.records[job_id]
            had = record.images or (b"", b"")
            record.images = (image or had[0], reference or had[1])
            self._ledger.pending.append(job_id)
            return True

    def refuse(self, job_id: str, failure: JobFailure) -> bool:
        with self._ledger.lock:
            self._ledger.step()
            if job_id not in self.held:
                return False
            self._ledger.conclude(job_id, Status.FAILED, error=failure)
            return True

    def waiting(self) -> int:
        return len(self.held)

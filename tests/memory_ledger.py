"""The ledger in dictionaries, for tests of the gateway: the same promises, no server."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, cast

from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.jobs import Claim, Job, NewJob, Priority, Status, Transition, queued
from shared.ledger.admission import Limits, Pressure, beyond_quota
from shared.ledger.idempotency import NO_KEY, Known, Reservation, in_progress
from shared.ledger.jobs.store import NOT_RETRYABLE, Accepted, Ledger, Outcome, no_such_job
from shared.ledger.stores import Stores
from shared.liveness_sessions import SessionStatus
from shared.observability.request_context import UNKNOWN, RequestContext
from shared.tenants import DEFAULT
from tests.memory_repositories import MemoryBatches, MemoryFetches, MemoryIdempotency, MemoryListing, NoResults
from tests.memory_sessions import MemorySessions
from tests.memory_tenants import MemoryApiKeys, MemoryAudit, MemoryTenants

ORDER = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


class MemoryPressure(Pressure):
    """A store whose memory is as full as a test says."""

    def __init__(self) -> None:
        self.high = False

    def refuse_if_high(self) -> None:
        if self.high:
            raise UnavailableError(ErrorCode.QUEUE_FULL, "The job store's memory is full. Nothing was accepted.")


@dataclass
class Record:
    """A job with what its answer does not show."""

    job: Job
    new: NewJob
    images: tuple[bytes, bytes] | None
    token: str | None = None
    digest: str = ""


class MemoryLedger(Ledger):
    """A ledger in a dictionary. `broken` makes every call fail as if the store were away."""

    batches: MemoryBatches
    idempotency: MemoryIdempotency
    fetches: MemoryFetches
    sessions: MemorySessions
    pressure: MemoryPressure
    tenants: MemoryTenants
    api_keys: MemoryApiKeys
    audit: MemoryAudit

    def __init__(self, *, shards: int = 1) -> None:
        self.shards = shards
        self.broken = False
        self.reads = 0
        self.now = 1_700_000_000.0
        self.listeners: list[Callable[[str, Status | None], None]] = []
        self.records: dict[str, Record] = {}
        self.pending: list[str] = []
        self.served: dict[str, float] = {}
        self.lock = threading.RLock()
        self.pressure = MemoryPressure()
        self.results = NoResults()
        self.batches = MemoryBatches(self)
        self.listing = MemoryListing(self)
        self.idempotency = MemoryIdempotency(self)
        self.fetches = MemoryFetches(self)
        self.tenants = MemoryTenants(self)
        self.api_keys = MemoryApiKeys(self)
        self.audit = MemoryAudit(self)
        self.sessions = MemorySessions(self)

    @property
    def stores(self) -> Stores:
        """What a gateway opens; it has no webhooks, no measures, and nothing to walk through."""
        return cast("Stores", SimpleNamespace(jobs=self, layout=self, **vars(self)))

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
        if record.new.session or not (record.images and (failure := more.get("error")) and failure.retryable):
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

    def own(self, job_id: str, tenant: str) -> Record | None:
        """The record, where the tenant has one."""
        record = self.records.get(job_id)
        return record if record is not None and record.job.tenant == tenant else None

    def refuse_where_full(self, limits: Limits, *, coming: int = 1) -> None:
        """Back-pressure."""
        if limits.grant.jobs is not None:
            own = (record.job for record in self.records.values() if record.job.tenant == limits.tenant)
            open_jobs = sum(not job.status.is_terminal for job in own)
            if open_jobs + coming > limits.grant.jobs:
                raise beyond_quota(open_jobs)
        if len(self.pending) + len(self.fetches.held) >= limits.depth:
            raise UnavailableError(ErrorCode.QUEUE_FULL, "The queue is full. Nothing was accepted.")

    def admit(self, new: NewJob, *, batch: str | None = None, retry_of: str | None = None) -> Job:
        """Every birth."""
        job = replace(queued(new, at=self.now), batch=batch, retry_of=retry_of, history=())
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
            tenants = {self.records[i].job.tenant for i in self.pending}
            served = min(tenants, key=lambda tenant: self.served.get(tenant, 0.0))
            line = [i for i in self.pending if self.records[i].job.tenant == served]
            self.served[served] = now
            job_id = min(line, key=lambda i: ORDER[self.records[i].job.priority])
            self.pending.remove(job_id)
            record = self.records[job_id]
            record.token = f"{worker}:{record.job.attempts + 1}"
            job = self.move(job_id, Status.RUNNING, started_at=now, attempts=record.job.attempts + 1)
            image, reference = record.images or (b"", b"")
            extra_images = record.new.extra_images if record.images else ()
            return Claim(
                job=job, token=record.token, image=image, reference=reference or None, extra_images=extra_images
            )

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

    def cancel(self, job_id: str, *, tenant: str = DEFAULT) -> Job:
        with self.lock:
            self.step()
            record = self.own(job_id, tenant)
            if record is None:
                raise no_such_job()
            if record.job.status is Status.CANCELED:
                return record.job
            if record.job.status.is_terminal:
                raise RequestError(ErrorCode.JOB_ENDED, f"The job has {record.job.status}; an end never changes.")
            return self.conclude(job_id, Status.CANCELED)

    def delete(self, job_id: str, *, tenant: str = DEFAULT) -> bool:
        with self.lock:
            self.step()
            if self.own(job_id, tenant) is None:
                return False
            if not self.records[job_id].job.status.is_terminal:
                self.conclude(job_id, Status.CANCELED)
            self.idempotency.kept.pop(self.records.pop(job_id).digest, None)
            self.tell(job_id, None)
            return True

    def retry(
        self, job_id: str, *, new_id: str, limits: Limits, tenant: str = DEFAULT, context: RequestContext = UNKNOWN
    ) -> Job:
        with self.lock:
            self.step()
            record = self.own(job_id, tenant)
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
            return self.admit(replace(record.new, id=new_id, start_within=None, context=context), retry_of=job_id)

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
            return [self._status(i) for i in job_ids]

    def _status(self, about: str) -> Status | None:
        if about in self.records:
            return self.records[about].job.status
        session = self.sessions.kept.get(about)
        running = session is not None and session.status is SessionStatus.RUNNING
        return Status.RUNNING if running else self.batches.status(about)

    def forget(self, job_id: str) -> None:
        """The job's time to live is over."""
        with self.lock:
            del self.records[job_id]

    def depth(self) -> tuple[int, int]:
        with self.lock:
            self.step()
            return len(self.pending), sum(record.token is not None for record in self.records.values())

    def check(self) -> None:
        """Fail where the store is away."""
        self.step()

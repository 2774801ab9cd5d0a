"""The ledger's repositories in dictionaries, beside `tests/memory_ledger.py`."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.jobs import Batch, BatchStatus, Job, JobFailure, NewJob, Status
from shared.ledger.admission import Limits
from shared.ledger.batches.store import Batches
from shared.ledger.idempotency import NO_KEY, Idempotency, Known, Reservation, in_progress
from shared.ledger.jobs.fetches import Fetch, Fetches
from shared.ledger.jobs.listing import JobFilter, Listing, Page, Position
from shared.ledger.jobs.result_cache import Results
from shared.observability.request_context import UNKNOWN, RequestContext
from shared.tenants import DEFAULT
from shared.webhooks.schemas import Webhook

if TYPE_CHECKING:
    from tests.memory_ledger import MemoryLedger


@dataclass
class BatchRecord:
    """A batch, its jobs in the order of the items, and its time to live."""

    batch: Batch
    jobs: list[str] = field(default_factory=list)
    ttl: timedelta = timedelta(hours=1)


class NoResults(Results):
    """A cache that keeps nothing."""

    def __init__(self) -> None:
        pass

    def forget(self, job_id: str, *, tenant: str = DEFAULT) -> None:
        pass


class MemoryBatches(Batches):
    """Batches in a dictionary."""

    def __init__(self, ledger: "MemoryLedger") -> None:
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
        webhook: Webhook | None = None,  # noqa: ARG002 - nobody is told here
        context: RequestContext = UNKNOWN,  # noqa: ARG002
        under: Reservation = NO_KEY,
        tenant: str = DEFAULT,
    ) -> float:
        with self._ledger.lock:
            now = self._ledger.step()
            self._ledger.refuse_where_full(limits, coming=len(jobs))
            batch = Batch(batch_id, BatchStatus.RUNNING, now, len(jobs), {}, dict(metadata), tenant)
            self._ledger.settle_key(under, batch_id)
            self.kept[batch_id] = BatchRecord(batch, [job.id for job in jobs], result_ttl)
            for job in jobs:
                self._ledger.admit(job, batch=batch_id)
            return now

    def status(self, batch_id: str) -> Status | None:
        """Running, or None where nothing is left to wait for."""
        record = self.kept.get(batch_id)
        return Status.RUNNING if record and record.batch.status is BatchStatus.RUNNING else None

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

    def own(self, batch_id: str, tenant: str) -> BatchRecord | None:
        """The record, where the tenant has one."""
        record = self.kept.get(batch_id)
        return record if record is not None and record.batch.tenant == tenant else None

    def read(self, batch_id: str, *, tenant: str = DEFAULT) -> Batch | None:
        with self._ledger.lock:
            self._ledger.step()
            record = self.own(batch_id, tenant)
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

    def cancel(self, batch_id: str, *, tenant: str = DEFAULT) -> Batch | None:
        with self._ledger.lock:
            record = self.own(batch_id, tenant)
            for job_id in record.jobs if record else []:
                if not self._ledger.records[job_id].job.status.is_terminal:
                    self._ledger.cancel(job_id, tenant=tenant)
            return self.read(batch_id, tenant=tenant)

    def delete(self, batch_id: str, *, tenant: str = DEFAULT) -> bool:
        with self._ledger.lock:
            self._ledger.step()
            record = self.own(batch_id, tenant)
            for job_id in record.jobs if record else []:
                self._ledger.delete(job_id, tenant=tenant)
            if record:
                del self.kept[batch_id]
                self._ledger.tell(batch_id, None)
            return record is not None


class MemoryListing(Listing):
    """The index: every job looked at."""

    def __init__(self, ledger: "MemoryLedger") -> None:
        self._ledger = ledger

    def page(self, job_filter: JobFilter, *, limit: int, after: Position | None = None) -> Page:
        with self._ledger.lock:
            self._ledger.step()
            jobs = [record.job for record in self._ledger.records.values() if _meant(record.job, job_filter)]
            jobs.sort(key=lambda job: (job.created_at, job.id), reverse=True)
            if after:
                jobs = [job for job in jobs if (job.created_at, job.id) < (after.created_at, after.job_id)]
            more = Position(jobs[limit - 1].created_at, jobs[limit - 1].id) if len(jobs) > limit else None
            return Page([replace(job, result=None) for job in jobs[:limit]], more)


def _meant(job: Job, job_filter: JobFilter) -> bool:
    return (
        job.tenant == job_filter.tenant
        and job_filter.status in {None, job.status}
        and job_filter.operation in {None, job.operation}
        and (job_filter.created_after is None or job.created_at > job_filter.created_after)
        and (not job_filter.dead_lettered or job.dead_lettered)
    )


class MemoryIdempotency(Idempotency):
    """Keys in a dictionary: a token where one is held, else what it led to."""

    def __init__(self, ledger: "MemoryLedger") -> None:
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

    def __init__(self, ledger: "MemoryLedger") -> None:
        self._ledger = ledger
        self.held: dict[str, float] = {}

    def take(self, *, most: int, hold: timedelta, held: Iterable[Fetch] = ()) -> list[Fetch]:  # noqa: ARG002 - no shares
        with self._ledger.lock:
            now = self._ledger.step()
            due = [job_id for job_id, until in self.held.items() if until <= now][:most]
            self.held |= dict.fromkeys(due, now + hold.total_seconds())
            records = [self._ledger.records[job_id].new for job_id in due]
            return [Fetch(new.id, new.image_url, new.reference_url, new.context) for new in records]

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

    def give_back(self, job_ids: Collection[str]) -> None:
        with self._ledger.lock:
            self._ledger.step()
            self.held |= {job_id: 0.0 for job_id in job_ids if job_id in self.held}

    def waiting(self) -> int:
        return len(self.held)

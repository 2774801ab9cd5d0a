"""Jobs and batches of them: their states, the one table of transitions, and their identity."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from shared.errors import ErrorCode
from shared.observability.request_context import UNKNOWN, RequestContext
from shared.operations import Operation
from shared.tenants import DEFAULT
from shared.webhooks.schemas import Webhook


class Status(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """True for a state that never changes."""
        return not TRANSITIONS[self]


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELED, Status.EXPIRED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.QUEUED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
    Status.EXPIRED: frozenset(),
}
"""The one table. The scripts of `shared/ledger` make these steps and no others; a test holds them to it.

A queued job fails only where its image could not be fetched; an item that a batch was refused for is born failed.
"""


class Priority(StrEnum):
    """Who goes first. High before normal before low, but a share of the starts is the others': nobody starves."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class BatchStatus(StrEnum):
    """Where a batch is in its life."""

    RUNNING = "running"
    COMPLETED = "completed"


_ID: Final = re.compile(r"(job|batch)_[0-9a-f]{34}")


def new_job_id(*, shard: int, now_ms: int) -> str:
    """A fresh id: its shard (1 byte), its birth in milliseconds (6 bytes), 80 random bits."""
    return f"job_{_identity(shard, now_ms)}"


def new_batch_id(*, shard: int, now_ms: int) -> str:
    """A fresh id of a batch, made as a job's is; its jobs are on the same shard."""
    return f"batch_{_identity(shard, now_ms)}"


def _identity(shard: int, now_ms: int) -> str:
    return f"{shard:02x}{now_ms:012x}{secrets.randbits(80):020x}"


def is_job_id(text: str) -> bool:
    """True if `text` has the form of a job id; says nothing about whether the job exists."""
    found = _ID.fullmatch(text)
    return found is not None and found[1] == "job"


def is_batch_id(text: str) -> bool:
    """True if `text` has the form of a batch's id; says nothing about whether the batch exists."""
    found = _ID.fullmatch(text)
    return found is not None and found[1] == "batch"


def shard_of(an_id: str) -> int:
    """The shard that keeps this job or batch."""
    at = an_id.index("_") + 1
    return int(an_id[at : at + 2], 16)


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed, in the words that the client sees."""

    code: ErrorCode
    detail: str
    retryable: bool = False


@dataclass(frozen=True, slots=True)
class Provenance:
    """What produced a result."""

    model_pack: str
    embedding_contract: str
    provider: str
    worker: str
    cached: bool = False
    """True where the result was kept from an equal job before, and no model ran."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One step of a job's life: the how-manieth, to which status, and when by the ledger's clock."""

    number: int
    status: Status
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What the caller decides about a job. A submission, a new job and a job on record all have these fields."""

    operation: Operation
    metadata: Mapping[str, Any] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    webhook: Webhook | None = field(default=None, repr=False)
    """An address that is told of the end, beside the tenant's registered endpoints."""
    session: str | None = None
    """The liveness session that the image belongs to. Such a job is in no list and no webhook, and never retried."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest(JobSpec):
    """A job that is not on record yet: with its images, or the addresses that they are fetched from."""

    image: bytes = field(default=b"", repr=False)
    reference: bytes = field(default=b"", repr=False)
    """A second image file, or empty."""
    extra_images: tuple[bytes, ...] = field(default=(), repr=False)
    """Further images of the same person, for a registration."""
    image_url: str | None = field(default=None, repr=False)
    """Where the image is fetched from. The job waits for its images before it waits for a worker."""
    reference_url: str | None = field(default=None, repr=False)
    start_within: timedelta | None = None
    """A job that no worker has started by then expires."""

    @property
    def has_images(self) -> bool:
        """False while an image has yet to be fetched."""
        return self.image_url is None and self.reference_url is None


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob(JobRequest):
    """A job to accept."""

    id: str
    params: Mapping[str, Any]
    result_ttl: timedelta
    tenant: str = DEFAULT
    context: RequestContext = UNKNOWN
    """The request that submits it."""
    refused: JobFailure | None = None
    """Set for an item of a batch that cannot be done: it is born failed."""

    @property
    def image_origin(self) -> str | None:
        """Scheme and host of `image_url`: all of it that is shown, and kept beyond the end."""
        return _origin(self.image_url)

    @property
    def reference_origin(self) -> str | None:
        """The same of `reference_url`."""
        return _origin(self.reference_url)


def _origin(url: str | None) -> str | None:
    return None if url is None else origin_of(url)


def origin_of(url: str) -> str:
    """Scheme and host of an address: all of it that is shown."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(JobSpec):
    """A job on record. Times are seconds since the epoch by the ledger's clock.

    These fields are the record: `shared/ledger/jobs/records.py` reads and writes each of them by its name and type.
    """

    id: str
    status: Status
    created_at: float
    params: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = DEFAULT
    """The owner; for every other tenant the job does not exist."""
    context: RequestContext = UNKNOWN
    """The request that submitted it."""
    attempts: int = 0
    started_at: float | None = None
    """Start of the latest attempt."""
    finished_at: float | None = None
    expires_at: float | None = None
    start_by: float | None = None
    result: dict[str, Any] | None = None
    error: JobFailure | None = None
    metrics: Mapping[str, float] | None = None
    provenance: Provenance | None = None
    batch: str | None = None
    retry_of: str | None = None
    retried_as: str | None = None
    image_origin: str | None = None
    """Scheme and host of the address that its image is fetched from; the rest is erased with the image."""
    reference_origin: str | None = None
    history: tuple[Transition, ...] = ()
    """Every transition, the first one included."""

    @property
    def dead_lettered(self) -> bool:
        """True where it failed because no worker could finish it."""
        return self.error is not None and self.error.code in DEAD_LETTERS


BIRTH_FIELDS: Final = frozenset(each.name for each in fields(Job)) & frozenset(each.name for each in fields(NewJob))
"""What a job on record takes over from the new job as it is."""


def queued(new: NewJob, *, at: float) -> Job:
    """The job on record right after its acceptance at this time."""
    return Job(
        **{name: getattr(new, name) for name in BIRTH_FIELDS},
        status=Status.QUEUED,
        created_at=at,
        start_by=None if new.start_within is None else at + new.start_within.total_seconds(),
        image_origin=new.image_origin,
        reference_origin=new.reference_origin,
        history=(Transition(1, Status.QUEUED, at),),
    )


DEAD_LETTERS: Final = frozenset({ErrorCode.WORKER_LOST, ErrorCode.TIMED_OUT})
"""Failures that put a job on the dead-letter list: its workers died of it, or with it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch as the ledger holds it. Times are seconds since the epoch by the ledger's clock."""

    id: str
    status: BatchStatus
    created_at: float
    total: int
    counts: dict[Status, int]
    """Its jobs by status; those erased one by one count as what they were."""
    metadata: dict[str, Any] = field(default_factory=dict)
    tenant: str = DEFAULT
    finished_at: float | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in a worker's hands: the fencing token says that it still is."""

    job: Job
    token: str
    image: bytes | None
    reference: bytes | None
    extra_images: tuple[bytes, ...] = ()
    """Further images of the same person."""

"""Jobs and batches: their states, the table of transitions, and their ids."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlsplit

from shared.errors import IMAGE_REFUSALS, ErrorCode
from shared.observability.request_context import UNKNOWN, RequestContext
from shared.operations import DetectionWay, Operation
from shared.tenants import DEFAULT
from shared.webhooks.schemas import Webhook


class Status(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"

    @property
    def is_terminal(self) -> bool:
        """True if the state never changes."""
        return not TRANSITIONS[self]


TRANSITIONS: Final[dict[Status, frozenset[Status]]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.FAILED, Status.CANCELED, Status.EXPIRED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.QUEUED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
    Status.EXPIRED: frozenset(),
}
"""All transitions. The scripts of `shared/ledger` make these and no others; a test checks them.

A queued job fails only if its image could not be fetched. An invalid item of a batch becomes a job that has failed
from the start.
"""


class Priority(StrEnum):
    """Priority of a job: high before normal before low. A share of the claims starts lower, so that no job starves."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class BatchStatus(StrEnum):
    """State of a batch."""

    RUNNING = "running"
    COMPLETED = "completed"


_ID: Final = re.compile(r"(job|batch)_[0-9a-f]{34}")


def new_job_id(*, shard: int, now_ms: int) -> str:
    """Return a new job id: shard (1 byte), creation time in milliseconds (6 bytes), 80 random bits."""
    return f"job_{_identity(shard, now_ms)}"


def new_batch_id(*, shard: int, now_ms: int) -> str:
    """Return a new batch id in the same format. The jobs of a batch are on its shard."""
    return f"batch_{_identity(shard, now_ms)}"


def _identity(shard: int, now_ms: int) -> str:
    return f"{shard:02x}{now_ms:012x}{secrets.randbits(80):020x}"


def is_job_id(text: str) -> bool:
    """Return whether `text` has the form of a job id. The job need not exist."""
    match = _ID.fullmatch(text)
    return match is not None and match[1] == "job"


def is_batch_id(text: str) -> bool:
    """Return whether `text` has the form of a batch id. The batch need not exist."""
    match = _ID.fullmatch(text)
    return match is not None and match[1] == "batch"


def shard_of(an_id: str) -> int:
    """Return the shard that stores a job, batch, session or event."""
    start = an_id.index("_") + 1
    return int(an_id[start : start + 2], 16)


@dataclass(frozen=True, slots=True)
class JobFailure:
    """Why a job failed, as shown to the client."""

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
    """True if the result came from the cache of an equal job and no model ran."""
    detection: DetectionWay | None = None
    """How faces were detected; None if the job failed before."""


@dataclass(frozen=True, slots=True)
class Transition:
    """One change of a job's status. `number` counts from 1 within the job; `at` is by the ledger's clock."""

    number: int
    status: Status
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobSpec:
    """What the caller decides about a job. A submission, a new job and a stored job all have these fields."""

    operation: Operation
    metadata: Mapping[str, Any] = field(default_factory=dict)
    priority: Priority = Priority.NORMAL
    webhook: Webhook | None = field(default=None, repr=False)
    """Notified of the job's completion, in addition to the tenant's registered endpoints."""
    session: str | None = None
    """The liveness session that the image belongs to. Such a job is not listed or retried, and notifies no webhook."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest(JobSpec):
    """A job that is not stored yet, with its images or the URLs that they are fetched from."""

    image: bytes = field(default=b"", repr=False)
    reference: bytes = field(default=b"", repr=False)
    """A second image file, or empty bytes."""
    extra_images: tuple[bytes, ...] = field(default=(), repr=False)
    """Further images of the same person, for a registration."""
    image_url: str | None = field(default=None, repr=False)
    """URL of the image. The job is queued for a worker once its images have been fetched."""
    reference_url: str | None = field(default=None, repr=False)
    start_within: timedelta | None = None
    """The job expires if no worker has started it within this time."""

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
    """The request that submits the job."""
    refused: JobFailure | None = None
    """Set for an invalid item of a batch: the job has failed from the start."""

    @property
    def image_origin(self) -> str | None:
        """Scheme and host of `image_url`. Nothing else of it is shown or kept after completion."""
        return _origin(self.image_url)

    @property
    def reference_origin(self) -> str | None:
        """Scheme and host of `reference_url`."""
        return _origin(self.reference_url)


def _origin(url: str | None) -> str | None:
    return None if url is None else origin_of(url)


def origin_of(url: str) -> str:
    """Return scheme and host of a URL, without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job(JobSpec):
    """A stored job. Times are seconds since the epoch by the ledger's clock.

    These fields are the record: `shared/ledger/jobs/records.py` reads and writes each one by its name and type.
    """

    id: str
    status: Status
    created_at: float
    params: Mapping[str, Any] = field(default_factory=dict)
    tenant: str = DEFAULT
    """The owner. To every other tenant the job does not exist."""
    context: RequestContext = UNKNOWN
    """The request that submitted the job."""
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
    """Scheme and host of the image's URL. The rest of the URL is erased with the image."""
    reference_origin: str | None = None
    history: tuple[Transition, ...] = ()
    """Every transition, including the initial one."""

    @property
    def dead_lettered(self) -> bool:
        """True if the job failed because no worker could finish it."""
        return self.error is not None and self.error.code in DEAD_LETTERS


BIRTH_FIELDS: Final = frozenset(each.name for each in fields(Job)) & frozenset(each.name for each in fields(NewJob))
"""Fields that a stored job takes from the new job unchanged."""


def queued(new: NewJob, *, at: float) -> Job:
    """Return the stored job right after its acceptance at this time."""
    return Job(
        **{name: getattr(new, name) for name in BIRTH_FIELDS},
        status=Status.QUEUED,
        created_at=at,
        start_by=None if new.start_within is None else at + new.start_within.total_seconds(),
        image_origin=new.image_origin,
        reference_origin=new.reference_origin,
        history=(Transition(1, Status.QUEUED, at),),
    )


FAILURE_CODES: Final = frozenset(
    {
        ErrorCode.INVALID_REQUEST,
        *IMAGE_REFUSALS,
        ErrorCode.IMAGE_URLS_OFF,
        ErrorCode.IMAGE_URL_REFUSED,
        ErrorCode.IMAGE_UNREACHABLE,
        ErrorCode.INVALID_EMBEDDING,
        ErrorCode.EMBEDDING_CONTRACT_MISMATCH,
        ErrorCode.LIVENESS_UNAVAILABLE,
        ErrorCode.ATTRIBUTE_UNAVAILABLE,
        ErrorCode.CALIBRATION_UNAVAILABLE,
        ErrorCode.FMR_OUT_OF_RANGE,
        ErrorCode.MODEL_FAILURE,
        ErrorCode.WORKER_LOST,
        ErrorCode.TIMED_OUT,
        ErrorCode.INTERNAL_ERROR,
    }
)
"""The codes that the failure of a job can have."""
DEAD_LETTERS: Final = frozenset({ErrorCode.WORKER_LOST, ErrorCode.TIMED_OUT})
"""Failures that put a job on the dead-letter list: its workers died or hung while they ran it."""


@dataclass(frozen=True, slots=True)
class Batch:
    """A stored batch. Times are seconds since the epoch by the ledger's clock."""

    id: str
    status: BatchStatus
    created_at: float
    total: int
    counts: dict[Status, int]
    """Number of jobs by status. A job that was erased individually still counts with its last status."""
    metadata: dict[str, Any] = field(default_factory=dict)
    tenant: str = DEFAULT
    finished_at: float | None = None
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job claimed by a worker. The fencing token is valid while the worker holds the job."""

    job: Job
    token: str
    image: bytes | None
    reference: bytes | None
    extra_images: tuple[bytes, ...] = ()
    """Further images of the same person."""

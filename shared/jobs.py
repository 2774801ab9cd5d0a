"""A job: its states, the one table of transitions, and its identity."""

import re
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from shared.errors import ErrorCode
from shared.operations import Operation


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
    Status.QUEUED: frozenset({Status.RUNNING, Status.CANCELED, Status.EXPIRED}),
    Status.RUNNING: frozenset({Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.QUEUED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
    Status.EXPIRED: frozenset(),
}
"""The one table. The scripts of `shared/storage/scripts` make these steps and no others; a test holds them to it."""

_ID: Final = re.compile(r"job_[0-9a-f]{34}")


def new_job_id(*, shard: int, now_ms: int) -> str:
    """A fresh id: its shard (1 byte), its birth in milliseconds (6 bytes), 80 random bits."""
    return f"job_{shard:02x}{now_ms:012x}{secrets.randbits(80):020x}"


def is_job_id(text: str) -> bool:
    """True if `text` has the form of a job id; says nothing about whether the job exists."""
    return _ID.fullmatch(text) is not None


def shard_of(job_id: str) -> int:
    """The shard that keeps this job."""
    return int(job_id[4:6], 16)


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
class Job:
    """A job as the ledger holds it. Times are seconds since the epoch by the ledger's clock."""

    id: str
    operation: Operation
    status: Status
    created_at: float
    params: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    attempts: int = 0
    started_at: float | None = None
    finished_at: float | None = None
    expires_at: float | None = None
    result: dict[str, Any] | None = None
    error: JobFailure | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A job in a worker's hands: the fencing token says that it still is."""

    job: Job
    token: str
    image: bytes | None
    reference: bytes | None

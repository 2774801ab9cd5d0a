"""Webhooks: events, who is told of them, and what becomes of the telling. The words of one registry for both sides."""

import hashlib
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final

from shared.causes import UNKNOWN, Cause
from shared.jobs import Status
from shared.tenants import DEFAULT


class EventType(StrEnum):
    """What may be told of."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    JOB_EXPIRED = "job.expired"
    BATCH_COMPLETED = "batch.completed"
    SESSION_COMPLETED = "liveness_session.completed"
    TEST = "webhook.test"


JOB_EVENTS: Final = (EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_CANCELED, EventType.JOB_EXPIRED)
SUBSCRIBABLE: Final = (*JOB_EVENTS, EventType.BATCH_COMPLETED, EventType.SESSION_COMPLETED)
"""What an endpoint may ask for. A test goes to the endpoint that it was asked of, whatever that listens to."""


class PayloadForm(StrEnum):
    """How much an event says: who and how it ended, or the job as `GET` gives it."""

    THIN = "thin"
    FULL = "full"


class DeliveryStatus(StrEnum):
    """Where a delivery is in its life. Only `pending` changes by itself; a resend makes any of them pending again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELED = "canceled"


class DisabledReason(StrEnum):
    """Why nothing is sent to an endpoint."""

    BY_REQUEST = "by_request"
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """Nothing but failures for too long."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """Who is told of the end of one job or batch: an address that came with it."""

    url: str = field(repr=False)
    events: tuple[EventType, ...]
    payload: PayloadForm = PayloadForm.THIN
    include_embeddings: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """One of an endpoint's signing secrets (`whsec_...`); the newest has no end. Times are the ledger's."""

    value: str = field(repr=False)
    created_at: float
    expires_at: float | None = None


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A registered endpoint. Times are seconds since the epoch by the ledger's clock."""

    id: str
    url: str = field(repr=False)
    events: tuple[EventType, ...]
    secrets: tuple[Secret, ...] = field(repr=False)
    """The newest first."""
    tenant: str = DEFAULT
    """Whose ends it is told of; it is not there for others."""
    description: str = ""
    payload: PayloadForm = PayloadForm.THIN
    include_embeddings: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True
    disabled_reason: DisabledReason | None = None
    disabled_at: float | None = None
    failing_since: float | None = None
    """The first of the failures that nothing but failures followed."""
    created_at: float = 0.0
    version: int = 1
    """Counts the changes of its record; attempts do not change it."""

    def active_secrets(self, now: float) -> tuple[str, ...]:
        """What a delivery is signed with now, the newest first."""
        return tuple(s.value for s in self.secrets if s.expires_at is None or s.expires_at > now)


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. It holds no result: that is the job's, as long as there is the job."""

    id: str
    """Also the `webhook-id` of every attempt at every destination."""
    type: EventType
    at: float
    subject: str
    """The job, batch or liveness session; of a test, the endpoint."""
    operation: str | None = None
    code: str | None = None
    """Why a job failed: one of docs/errors.md. Why a session did not pass: one of docs/liveness-sessions.md."""
    status: str | None = None
    """How a liveness session ended."""
    total: int | None = None
    counts: Mapping[Status, int] | None = None
    tenant: str = DEFAULT
    cause: Cause = UNKNOWN
    """The request that the job or batch came with."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one destination."""

    id: str
    event: Event
    destination: str
    endpoint: str | None = None
    """Id of the registered endpoint, or None where `webhook` came with the job."""
    webhook: Webhook | None = field(default=None, repr=False)
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    """Attempts begun, those of earlier sends included."""
    tries: int = 0
    """Attempts begun since it was last made due by hand: where it is in the schedule."""
    next_at: float | None = None
    created_at: float = 0.0
    ended_at: float | None = None
    last_status: int | None = None
    """The HTTP status of the last attempt that had one."""
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request, as it is kept in the log."""

    number: int
    at: float
    milliseconds: float
    status: int | None = None
    error: str | None = None
    response: str = ""
    """The first 1,024 bytes of the answer's body, as text."""
    request_headers: Mapping[str, str] = field(default_factory=dict)
    """What was sent, the values of custom headers left out."""


@dataclass(frozen=True, slots=True)
class Flight:
    """A delivery in a courier's hands: the token says that it still is; `now` is the ledger's time of its taking."""

    delivery: Delivery
    token: str = field(repr=False)
    now: float
    failures: int = 0
    """Attempts at this destination that failed in a row before this one."""


def webhook_json(webhook: Webhook) -> str:
    """A webhook as a job's record keeps it."""
    return json.dumps(asdict(webhook), separators=(",", ":"))


def read_webhook(text: str) -> Webhook:
    """The webhook of this text; what a newer version says beyond ours is left out."""
    found = json.loads(text)
    return Webhook(
        url=found["url"],
        events=tuple(EventType(name) for name in found.get("events", SUBSCRIBABLE)),
        payload=PayloadForm(found.get("payload", PayloadForm.THIN)),
        include_embeddings=bool(found.get("include_embeddings", False)),
        headers=found.get("headers", {}),
    )


_IDENTITY: Final = re.compile(r"evt_[0-9a-f]{34}")
_DELIVERY: Final = re.compile(r"dlv_[0-9a-f]{34}_[0-9a-f]{16}")
_ENDPOINT: Final = re.compile(r"we_[0-9a-f]{32}")


def event_id(subject: str) -> str:
    """The id of the event that this job or batch ended: it has one end, so it has one event."""
    return f"evt_{subject.rpartition('_')[2]}"


def delivery_id(event: str, destination: str) -> str:
    """The id of an event's delivery to a destination: the same however often it is worked out."""
    return f"dlv_{event.removeprefix('evt_')}_{hashlib.sha256(destination.encode()).hexdigest()[:16]}"


def new_endpoint_id() -> str:
    """A fresh id."""
    return f"we_{secrets.token_hex(16)}"


def destination_of(origin: str, *, tenant: str) -> str:
    """The queue of all addresses of one origin (`https://host:port`) that came with this tenant's jobs."""
    return f"url_{hashlib.sha256(f'{tenant} {origin}'.encode()).hexdigest()[:16]}"


def is_event_id(text: str) -> bool:
    """True if `text` has the form of an event's id."""
    return _IDENTITY.fullmatch(text) is not None


def is_delivery_id(text: str) -> bool:
    """True if `text` has the form of a delivery's id."""
    return _DELIVERY.fullmatch(text) is not None


def is_endpoint_id(text: str) -> bool:
    """True if `text` has the form of an endpoint's id."""
    return _ENDPOINT.fullmatch(text) is not None

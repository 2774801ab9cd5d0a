"""Events and their deliveries: what happened, and what became of sending it to each destination."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from shared.jobs import Status
from shared.observability.request_context import UNKNOWN, RequestContext
from shared.tenants import DEFAULT
from shared.webhooks.schemas import EventType, Webhook


class DeliveryStatus(StrEnum):
    """Where a delivery is in its life. Only `pending` changes by itself; a resend makes any of them pending again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELED = "canceled"


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
    context: RequestContext = UNKNOWN
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
class LeasedDelivery:
    """A delivery in a courier's hands: the token says that it still is; `now` is the ledger's time of its taking."""

    delivery: Delivery
    token: str = field(repr=False)
    now: float
    failures: int = 0
    """Attempts at this destination that failed in a row before this one."""


_IDENTITY: Final = re.compile(r"evt_[0-9a-f]{34}")
_DELIVERY: Final = re.compile(r"dlv_[0-9a-f]{34}_[0-9a-f]{16}")


def event_id(subject: str) -> str:
    """The id of the event that this job or batch ended: it has one end, so it has one event."""
    return f"evt_{subject.rpartition('_')[2]}"


def delivery_id(event: str, destination: str) -> str:
    """The id of an event's delivery to a destination: the same however often it is worked out."""
    return f"dlv_{event.removeprefix('evt_')}_{hashlib.sha256(destination.encode()).hexdigest()[:16]}"


def destination_of(origin: str, *, tenant: str) -> str:
    """The queue of all addresses of one origin (`https://host:port`) that came with this tenant's jobs."""
    return f"url_{hashlib.sha256(f'{tenant} {origin}'.encode()).hexdigest()[:16]}"


def is_event_id(text: str) -> bool:
    """True if `text` has the form of an event's id."""
    return _IDENTITY.fullmatch(text) is not None


def is_delivery_id(text: str) -> bool:
    """True if `text` has the form of a delivery's id."""
    return _DELIVERY.fullmatch(text) is not None

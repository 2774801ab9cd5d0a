"""Events, and their deliveries to each destination."""

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
    """State of a delivery. Only `pending` changes on its own; resending makes any delivery pending again."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"
    CANCELED = "canceled"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened. It does not contain the result, which is read from the job while the job exists."""

    id: str
    """Also the `webhook-id` of every attempt at every destination."""
    type: EventType
    at: float
    subject: str
    """The job, batch or liveness session; for a test, the endpoint."""
    operation: str | None = None
    code: str | None = None
    """Why a job failed (see docs/errors.md), or why a session did not pass (see docs/liveness-sessions.md)."""
    status: str | None = None
    """Final status of a liveness session."""
    total: int | None = None
    counts: Mapping[Status, int] | None = None
    tenant: str = DEFAULT
    context: RequestContext = UNKNOWN
    """The request that submitted the job or batch."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one destination."""

    id: str
    event: Event
    destination: str
    endpoint: str | None = None
    """Id of the registered endpoint. None if the job itself named the `webhook`."""
    webhook: Webhook | None = field(default=None, repr=False)
    status: DeliveryStatus = DeliveryStatus.PENDING
    attempts: int = 0
    """Attempts started, including those before a resend."""
    tries: int = 0
    """Attempts started since the last resend: the position in the retry schedule."""
    next_at: float | None = None
    created_at: float = 0.0
    ended_at: float | None = None
    last_status: int | None = None
    """HTTP status of the last attempt that received a response."""
    last_error: str | None = None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request, as the delivery log records it."""

    number: int
    at: float
    milliseconds: float
    status: int | None = None
    error: str | None = None
    response: str = ""
    """The first 1,024 bytes of the response body, as text."""
    request_headers: Mapping[str, str] = field(default_factory=dict)
    """Headers that were sent, without the values of custom headers."""


@dataclass(frozen=True, slots=True)
class LeasedDelivery:
    """A delivery leased to a courier. The token fences it; `now` is the ledger's time when it was taken."""

    delivery: Delivery
    token: str = field(repr=False)
    now: float
    failures: int = 0
    """Consecutive failed attempts at this destination before this one."""


_IDENTITY: Final = re.compile(r"evt_[0-9a-f]{34}")
_DELIVERY: Final = re.compile(r"dlv_[0-9a-f]{34}_[0-9a-f]{16}")


def event_id(subject: str) -> str:
    """Return the id of the completion event of a job, batch or session. A subject completes once and has one event."""
    return f"evt_{subject.rpartition('_')[2]}"


def delivery_id(event: str, destination: str) -> str:
    """Return the id of an event's delivery to a destination. The same arguments always give the same id."""
    return f"dlv_{event.removeprefix('evt_')}_{hashlib.sha256(destination.encode()).hexdigest()[:16]}"


def destination_of(origin: str, *, tenant: str) -> str:
    """Return the destination of all URLs of one origin (`https://host:port`) that were submitted by one tenant."""
    return f"url_{hashlib.sha256(f'{tenant} {origin}'.encode()).hexdigest()[:16]}"


def is_event_id(text: str) -> bool:
    """Return whether `text` has the form of an event id."""
    return _IDENTITY.fullmatch(text) is not None


def is_delivery_id(text: str) -> bool:
    """Return whether `text` has the form of a delivery id."""
    return _DELIVERY.fullmatch(text) is not None

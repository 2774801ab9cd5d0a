"""Webhooks: event types, and the endpoints that events are sent to."""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final

from shared.tenants import DEFAULT


class EventType(StrEnum):
    """Type of an event."""

    JOB_SUCCEEDED = "job.succeeded"
    JOB_FAILED = "job.failed"
    JOB_CANCELED = "job.canceled"
    JOB_EXPIRED = "job.expired"
    BATCH_COMPLETED = "batch.completed"
    SESSION_COMPLETED = "liveness_session.completed"
    TEST = "webhook.test"


JOB_EVENTS: Final = (EventType.JOB_SUCCEEDED, EventType.JOB_FAILED, EventType.JOB_CANCELED, EventType.JOB_EXPIRED)
SUBSCRIBABLE: Final = (*JOB_EVENTS, EventType.BATCH_COMPLETED, EventType.SESSION_COMPLETED)
"""Event types that an endpoint can subscribe to. A test event is sent regardless of the subscription."""


class PayloadForm(StrEnum):
    """How much an event contains. `thin`: id and outcome. `full`: the job as `GET` returns it."""

    THIN = "thin"
    FULL = "full"


class DisabledReason(StrEnum):
    """Why an endpoint is disabled."""

    BY_REQUEST = "by_request"
    GONE = "gone"
    """The endpoint responded with 410."""
    FAILING = "failing"
    """Every delivery failed for too long."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address submitted with a job, batch or liveness session, and notified of its completion."""

    url: str = field(repr=False)
    events: tuple[EventType, ...] = SUBSCRIBABLE
    payload: PayloadForm = PayloadForm.THIN
    include_embeddings: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Secret:
    """One of an endpoint's signing secrets (`whsec_...`). The newest never expires. Times are by the ledger's clock."""

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
    """Newest first."""
    tenant: str = DEFAULT
    """The tenant that owns the endpoint; other tenants cannot see it."""
    description: str = ""
    payload: PayloadForm = PayloadForm.THIN
    include_embeddings: bool = False
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    enabled: bool = True
    disabled_reason: DisabledReason | None = None
    disabled_at: float | None = None
    failing_since: float | None = None
    """Time of the first of the consecutive failures."""
    created_at: float = 0.0
    version: int = 1
    """Number of changes to the record; delivery attempts do not count."""

    def active_secrets(self, now: float) -> tuple[str, ...]:
        """Return the secrets that sign a delivery at `now`, newest first."""
        return tuple(s.value for s in self.secrets if s.expires_at is None or s.expires_at > now)


def webhook_json(webhook: Webhook) -> str:
    """Encode a webhook for a record."""
    return json.dumps(asdict(webhook), separators=(",", ":"))


def read_webhook(text: str | bytes) -> Webhook:
    """Decode a webhook from a record.

    Event types and payload forms of newer versions are ignored, so that such a record stays readable.
    """
    record = json.loads(text)
    return Webhook(
        url=record["url"],
        events=tuple(EventType(name) for name in record["events"] if name in _EVENTS),
        payload=PayloadForm(record["payload"]) if record["payload"] in _PAYLOADS else PayloadForm.THIN,
        include_embeddings=record["include_embeddings"],
        headers=record["headers"],
    )


_EVENTS: Final = frozenset(EventType)
_PAYLOADS: Final = frozenset(PayloadForm)
_ENDPOINT: Final = re.compile(r"we_[0-9a-f]{32}")


def new_endpoint_id() -> str:
    """Return a new endpoint id."""
    return f"we_{secrets.token_hex(16)}"


def is_endpoint_id(text: str) -> bool:
    """Return whether `text` has the form of an endpoint id."""
    return _ENDPOINT.fullmatch(text) is not None

"""Webhooks: the types of events, and the addresses that they are sent to."""

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Final

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


class DisabledReason(StrEnum):
    """Why nothing is sent to an endpoint."""

    BY_REQUEST = "by_request"
    GONE = "gone"
    """It answered 410."""
    FAILING = "failing"
    """Nothing but failures for too long."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that came with a job, a batch or a liveness session, and is told of its end."""

    url: str = field(repr=False)
    events: tuple[EventType, ...] = SUBSCRIBABLE
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


def webhook_json(webhook: Webhook) -> str:
    """A webhook as records keep it."""
    return json.dumps(asdict(webhook), separators=(",", ":"))


def read_webhook(text: str | bytes) -> Webhook:
    """The webhook of this text.

    Event types and payload forms that only a newer version knows are left out: such a record still has to be readable.
    """
    kept = json.loads(text)
    return Webhook(
        url=kept["url"],
        events=tuple(EventType(name) for name in kept["events"] if name in _EVENTS),
        payload=PayloadForm(kept["payload"]) if kept["payload"] in _PAYLOADS else PayloadForm.THIN,
        include_embeddings=kept["include_embeddings"],
        headers=kept["headers"],
    )


_EVENTS: Final = frozenset(EventType)
_PAYLOADS: Final = frozenset(PayloadForm)
_ENDPOINT: Final = re.compile(r"we_[0-9a-f]{32}")


def new_endpoint_id() -> str:
    """A fresh id."""
    return f"we_{secrets.token_hex(16)}"


def is_endpoint_id(text: str) -> bool:
    """True if `text` has the form of an endpoint's id."""
    return _ENDPOINT.fullmatch(text) is not None

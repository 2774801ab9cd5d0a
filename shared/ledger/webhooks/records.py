"""Deliveries and their events as the store keeps them: rows of the outbox, and fields of hashes, read and written."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from shared.deliveries import Delivery, DeliveryStatus, Event, event_id
from shared.jobs import Status
from shared.observability.request_context import RequestContext
from shared.webhooks.schemas import EventType, Webhook, read_webhook


@dataclass(frozen=True, slots=True)
class Row:
    """A row of the outbox: what happened, and whom the subject itself named."""

    raw: bytes
    event: Event
    webhook: Webhook | None


def read_row(raw: bytes) -> Row | None:
    """The row, or None where it cannot be read, as one of a newer version."""
    try:
        return _row_of(raw)
    except (ValueError, LookupError, TypeError):
        return None


def _row_of(raw: bytes) -> Row:
    found = json.loads(raw)
    event = Event(
        id=event_id(found["id"]),
        type=EventType(found["type"]),
        at=float(found["at"]),
        subject=found["id"],
        operation=found.get("operation"),
        code=found.get("code"),
        status=found.get("status"),
        total=found.get("total"),
        counts=_counts(found.get("counts")),
        tenant=found["tenant"],
        context=RequestContext(found.get("request_id"), found.get("traceparent")),
    )
    webhook = found.get("webhook")
    return Row(raw, event, None if webhook is None else read_webhook(webhook))


def _counts(found: Mapping[str, int] | None) -> dict[Status, int] | None:
    return None if found is None else {Status(status): int(count) for status, count in found.items()}


def event_texts(event: Event) -> dict[str, str]:
    """The fields that an event is kept in."""
    texts = {
        "id": event.id,
        "type": event.type.value,
        "at": f"{event.at:.6f}",
        "subject": event.subject,
        "tenant": event.tenant,
    }
    texts |= event.context.texts
    more: dict[str, Any] = {name: getattr(event, name) for name in ("operation", "code", "status", "total")}
    texts |= {name: str(value) for name, value in more.items() if value is not None}
    return texts | ({} if event.counts is None else {"counts": json.dumps(event.counts)})


def read_delivery(row: Mapping[bytes, bytes], event: Mapping[bytes, bytes]) -> Delivery:
    """The delivery of these fields, and of those of its event."""
    found = {name.decode(): value.decode() for name, value in row.items()}
    known = {name.decode(): value.decode() for name, value in event.items()}
    return Delivery(
        id=found["id"],
        event=Event(
            id=known["id"],
            type=EventType(known["type"]),
            at=float(known["at"]),
            subject=known["subject"],
            operation=known.get("operation"),
            code=known.get("code"),
            status=known.get("status"),
            total=int(known["total"]) if "total" in known else None,
            counts=_counts(json.loads(known["counts"])) if "counts" in known else None,
            tenant=known["tenant"],
            context=RequestContext(known.get("request_id"), known.get("traceparent")),
        ),
        destination=found["destination"],
        endpoint=found.get("endpoint"),
        webhook=read_webhook(found["webhook"]) if "webhook" in found else None,
        status=DeliveryStatus(found["status"]),
        attempts=int(found["attempts"]),
        tries=int(found["tries"]),
        next_at=float(found["next_at"]) if "next_at" in found else None,
        created_at=float(found["created_at"]),
        ended_at=float(found["ended_at"]) if "ended_at" in found else None,
        last_status=int(found["last_status"]) if "last_status" in found else None,
        last_error=found.get("last_error"),
    )

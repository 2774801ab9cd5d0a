"""Codec of the records of webhooks: rows of the outbox, events and deliveries."""

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
    """A row of the outbox: the event, and the webhook that was submitted with its subject."""

    raw: bytes
    event: Event
    webhook: Webhook | None


def read_row(raw: bytes) -> Row | None:
    """Decode a row. Return None if it cannot be read, such as a row of a newer version."""
    try:
        return _row_of(raw)
    except (ValueError, LookupError, TypeError):
        return None


def _row_of(raw: bytes) -> Row:
    record = json.loads(raw)
    event = Event(
        id=event_id(record["id"]),
        type=EventType(record["type"]),
        at=float(record["at"]),
        subject=record["id"],
        operation=record.get("operation"),
        code=record.get("code"),
        status=record.get("status"),
        total=record.get("total"),
        counts=_counts(record.get("counts")),
        tenant=record["tenant"],
        context=RequestContext(record.get("request_id"), record.get("traceparent")),
    )
    webhook = record.get("webhook")
    return Row(raw, event, None if webhook is None else read_webhook(webhook))


def _counts(counts: Mapping[str, int] | None) -> dict[Status, int] | None:
    return None if counts is None else {Status(status): int(count) for status, count in counts.items()}


def event_texts(event: Event) -> dict[str, str]:
    """Encode an event as the fields of its record."""
    texts = {
        "id": event.id,
        "type": event.type.value,
        "at": f"{event.at:.6f}",
        "subject": event.subject,
        "tenant": event.tenant,
    }
    texts |= event.context.texts
    optional: dict[str, Any] = {name: getattr(event, name) for name in ("operation", "code", "status", "total")}
    texts |= {name: str(value) for name, value in optional.items() if value is not None}
    return texts | ({} if event.counts is None else {"counts": json.dumps(event.counts)})


def read_delivery(row: Mapping[bytes, bytes], event: Mapping[bytes, bytes]) -> Delivery:
    """Decode a delivery from its record and that of its event."""
    record = {name.decode(): value.decode() for name, value in row.items()}
    event_record = {name.decode(): value.decode() for name, value in event.items()}
    return Delivery(
        id=record["id"],
        event=Event(
            id=event_record["id"],
            type=EventType(event_record["type"]),
            at=float(event_record["at"]),
            subject=event_record["subject"],
            operation=event_record.get("operation"),
            code=event_record.get("code"),
            status=event_record.get("status"),
            total=int(event_record["total"]) if "total" in event_record else None,
            counts=_counts(json.loads(event_record["counts"])) if "counts" in event_record else None,
            tenant=event_record["tenant"],
            context=RequestContext(event_record.get("request_id"), event_record.get("traceparent")),
        ),
        destination=record["destination"],
        endpoint=record.get("endpoint"),
        webhook=read_webhook(record["webhook"]) if "webhook" in record else None,
        status=DeliveryStatus(record["status"]),
        attempts=int(record["attempts"]),
        tries=int(record["tries"]),
        next_at=float(record["next_at"]) if "next_at" in record else None,
        created_at=float(record["created_at"]),
        ended_at=float(record["ended_at"]) if "ended_at" in record else None,
        last_status=int(record["last_status"]) if "last_status" in record else None,
        last_error=record.get("last_error"),
    )

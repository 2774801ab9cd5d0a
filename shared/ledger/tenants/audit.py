"""The audit log: who did what to which record, and when. Each tenant has a log that is only appended to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, cast

import redis

from shared.ledger import keys, scripts
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import readable

MOST: Final = 100_000
"""Approximate maximum number of entries per tenant. The oldest are dropped first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One action. It contains no data of faces, images or results."""

    tenant: str
    key: str
    """Public part of the API key, or `jwt:` and the subject."""
    action: str
    """Operation id of the call in the OpenAPI document."""
    subject: str
    """Id of the job, batch, endpoint, delivery, tenant or key that was acted on; empty if there is none."""
    status: int
    request_id: str
    id: str = ""
    at: float = 0.0
    """Seconds since the epoch by the ledger's clock."""


class Audit:
    """The audit logs of all tenants. Thread-safe.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._add = scripts.register(client, "audit", beside=__package__, parts=())

    def add(self, entries: Sequence[Entry], *, keep: timedelta) -> None:
        """Append entries to the logs of their tenants."""
        for tenant in dict.fromkeys(entry.tenant for entry in entries):
            rows = [_texts(entry) for entry in entries if entry.tenant == tenant]
            with store_errors():
                self._add(keys=[keys.audit(tenant)], args=[MOST, round(keep.total_seconds()), json.dumps(rows)])

    def page(self, tenant: str, *, limit: int, before: str | None = None) -> list[Entry]:
        """Return up to `limit` entries of a tenant, newest first, that are older than the entry `before`."""
        top = "+" if before is None else f"({before}"
        with store_errors():
            rows = cast(
                "list[tuple[bytes, dict[bytes, bytes]]]",
                self._client.xrevrange(keys.audit(tenant), top, "-", count=limit),
            )
        return list(readable("audit", rows, lambda row: _read(tenant, row[0].decode(), row[1])))

    def forget(self, tenant: str) -> bool:
        """Erase a tenant's log. Return False if there was none."""
        with store_errors():
            return bool(self._client.delete(keys.audit(tenant)))


def _texts(entry: Entry) -> list[str]:
    named = {name: str(getattr(entry, name)) for name in ("key", "action", "subject", "status", "request_id")}
    return [text for pair in named.items() for text in pair]


def _read(tenant: str, name: str, fields: dict[bytes, bytes]) -> Entry:
    record = {key.decode(): value.decode() for key, value in fields.items()}
    return Entry(
        tenant=tenant,
        key=record["key"],
        action=record["action"],
        subject=record["subject"],
        status=int(record["status"]),
        request_id=record["request_id"],
        id=name,
        at=int(name.partition("-")[0]) / 1000,
    )

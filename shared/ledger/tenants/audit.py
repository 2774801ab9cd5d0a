"""The audit log: who did what to which record, when; one log for each tenant, added to and never changed."""

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
"""Entries that are kept of one tenant, about: the oldest go first."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One act. It says nothing of any face, image or result."""

    tenant: str
    key: str
    """The public part of the key, or `jwt:` and the subject."""
    action: str
    """The call, by its name in the OpenAPI document."""
    subject: str
    """What it was done to: the id of a job, batch, endpoint, delivery, tenant or key; empty where there is none."""
    status: int
    request_id: str
    id: str = ""
    at: float = 0.0
    """Seconds since the epoch by the ledger's clock."""


class Audit:
    """The logs of all tenants. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client
        self._add = scripts.register(client, "audit", beside=__package__, parts=())

    def add(self, entries: Sequence[Entry], *, keep: timedelta) -> None:
        """Put entries at the end of their tenants' logs."""
        for tenant in dict.fromkeys(entry.tenant for entry in entries):
            rows = [_texts(entry) for entry in entries if entry.tenant == tenant]
            with store_errors():
                self._add(keys=[keys.audit(tenant)], args=[MOST, round(keep.total_seconds()), json.dumps(rows)])

    def page(self, tenant: str, *, limit: int, before: str | None = None) -> list[Entry]:
        """So many of a tenant's entries, the newest first, those older than the one of this id."""
        top = "+" if before is None else f"({before}"
        with store_errors():
            rows = cast(
                "list[tuple[bytes, dict[bytes, bytes]]]",
                self._client.xrevrange(keys.audit(tenant), top, "-", count=limit),
            )
        return list(readable("audit", rows, lambda row: _read(tenant, row[0].decode(), row[1])))

    def forget(self, tenant: str) -> bool:
        """Erase a tenant's log; False where there was none."""
        with store_errors():
            return bool(self._client.delete(keys.audit(tenant)))


def _texts(entry: Entry) -> list[str]:
    named = {name: str(getattr(entry, name)) for name in ("key", "action", "subject", "status", "request_id")}
    return [text for pair in named.items() for text in pair]


def _read(tenant: str, name: str, fields: dict[bytes, bytes]) -> Entry:
    found = {key.decode(): value.decode() for key, value in fields.items()}
    return Entry(
        tenant=tenant,
        key=found["key"],
        action=found["action"],
        subject=found["subject"],
        status=int(found["status"]),
        request_id=found["request_id"],
        id=name,
        at=int(name.partition("-")[0]) / 1000,
    )

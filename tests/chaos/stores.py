"""Reads what the oracle judges from the stores of a stack."""

import json
from collections.abc import Mapping
from typing import Final, cast

import redis

from shared.jobs import Status
from shared.storage import keys
from tests.chaos.oracle import LINES, Record, Snapshot

PREFIX: Final = keys.prefix(0)
PNG: Final = b"\x89PNG"


def snapshot(ledger: redis.Redis, broker: redis.Redis, *, keys_lead_to: Mapping[str, str]) -> Snapshot:
    """Everything that one shard of the ledger, and the broker, hold now."""
    return Snapshot(
        records=dict(_records(ledger)),
        lines={line: _members(ledger, PREFIX + line) for line in LINES},
        shelves={
            name.removeprefix(f"{PREFIX}index:"): _members(ledger, name) for name in _names(ledger, f"{PREFIX}index:")
        },
        outbox=_rows(ledger),
        images=[*_images(ledger), *_images(broker)],
        keys_lead_to=keys_lead_to,
    )


def _names(store: redis.Redis, beginning: str = "") -> list[str]:
    pattern = beginning.replace("{", "\\{").replace("}", "\\}") + "*"
    return sorted(name.decode() for name in store.scan_iter(match=pattern, count=1000))


def _members(ledger: redis.Redis, name: str) -> list[str]:
    return [member.decode() for member in cast("list[bytes]", ledger.zrange(name, 0, -1))]


def _records(ledger: redis.Redis) -> list[tuple[str, Record]]:
    found = []
    for name in _names(ledger, f"{PREFIX}job:"):
        raw = cast("dict[bytes, bytes]", ledger.hgetall(name))
        steps = [step.split(b" ")[0].decode() for step in raw.get(b"history", b"").split(b";") if step]
        record = Record(
            key=str(json.loads(raw[b"metadata"]).get("key")),
            status=Status(raw[b"status"].decode()),
            attempts=int(raw[b"attempts"]),
            history=tuple(map(Status, steps)),
            shelf=raw[b"shelf"].decode(),
            lasted=float(raw.get(b"finished_at", b"0")) - float(raw[b"created_at"]),
        )
        found.append((name.removeprefix(f"{PREFIX}job:"), record))
    return found


def _rows(ledger: redis.Redis) -> list[tuple[str, str]]:
    rows = map(json.loads, cast("list[bytes]", ledger.lrange(f"{PREFIX}outbox", 0, -1)))
    return [(row["id"], row["type"].partition(".")[2]) for row in rows]


def _images(store: redis.Redis) -> list[str]:
    """Keys made for images, and whatever else has the first bytes of one in it."""
    named = (f"{PREFIX}image:", f"{PREFIX}reference:", f"{PREFIX}urls:")
    return [name for name in _names(store) if name.startswith(named) or PNG in (store.dump(name) or b"")]

"""Reads from the stores of a stack what the oracle judges."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final, cast

import redis

from shared.jobs import Status
from shared.ledger import keys
from tests.chaos.oracle import LINES, Group, Record, Snapshot

PNG: Final = b"\x89PNG"
IMAGES: Final = re.compile(r"vultus:\{\d+\}:(image|reference|extra_images|urls):")
OWNED: Final = re.compile(
    r"vultus:\{\d+\}:(turns|counts|queued_tenants|expiry|listeners:.*|index:.*)|vultus:layout|vultus:\{webhooks\}:.*|vultus:\{workers\}:.*|vultus:\{auth\}:.*"
)
"""Keys of the ledger that may lack a TTL at rest: the owner of each removes its content (shared/ledger/keys.py)."""
DOORBELLS: Final = re.compile(r"_kombu\..*|unacked.*|.*celery.*|.*pidbox.*|vultus.*")
"""Keys of the broker."""
ENDS: Final = ("succeeded", "failed", "canceled", "expired")


def snapshot(ledger: redis.Redis, broker: redis.Redis, *, shards: int, keys_lead_to: Mapping[str, str]) -> Snapshot:
    """Everything that the shards of the ledger, and the broker, hold now."""
    prefixes = [keys.prefix(shard) for shard in range(shards)]
    records = {name: record for prefix in prefixes for name, record in _records(ledger, prefix)}
    index_keys: dict[str, list[str]] = {}
    for prefix in prefixes:
        for name in _names(ledger, f"{prefix}index:"):
            index_keys.setdefault(name.removeprefix(f"{prefix}index:"), []).extend(_members(ledger, name))
    return Snapshot(
        records=records,
        groups={name: group for prefix in prefixes for name, group in _groups(ledger, prefix)},
        lines={line: [one for prefix in prefixes for one in _members(ledger, prefix + line)] for line in LINES},
        index_keys=index_keys,
        images=[*(name for name in _images(ledger) if _owned(ledger, name, records)), *_images(broker)],
        keys_lead_to=keys_lead_to,
    )


def endless(ledger: redis.Redis) -> list[str]:
    """Keys of the ledger at rest without a TTL and without an owner."""
    return [
        name
        for name in _names(ledger)
        if OWNED.fullmatch(name) is None and ledger.ttl(name) == -1 and ledger.exists(name)
    ]


def holding(ledger: redis.Redis, text: str) -> list[str]:
    """Keys whose name or value contains the text; keys that disappear meanwhile are skipped.

    A storm leaves some 50,000 keys, so they are read in bulk: two calls per key took longer than a fault may last.
    """
    names = _names(ledger)
    chunks = (names[start : start + IN_BULK] for start in range(0, len(names), IN_BULK))
    return [name for chunk in chunks for name, value in _values(ledger, chunk) if text in name or text in repr(value)]


def _values(ledger: redis.Redis, names: Sequence[str]) -> Iterator[tuple[str, object]]:
    with ledger.pipeline(transaction=False) as types:
        for name in names:
            types.type(name)
        kinds = cast("list[bytes]", types.execute())
    present = [(name, kind) for name, kind in zip(names, kinds, strict=True) if kind in READERS]
    with ledger.pipeline(transaction=False) as values:
        for name, kind in present:
            READERS[kind](values, name)
        # A key whose type changed meanwhile answers with an error: it is not the one that was looked for.
        yield from zip((name for name, _ in present), values.execute(raise_on_error=False), strict=True)


IN_BULK: Final = 500
READERS: Final[Mapping[bytes, Callable[[redis.Redis, str], object]]] = {
    b"string": lambda store, name: store.get(name),
    b"hash": lambda store, name: store.hgetall(name),
    b"zset": lambda store, name: store.zrange(name, 0, -1),
    b"list": lambda store, name: store.lrange(name, 0, -1),
    b"set": lambda store, name: store.smembers(name),
    b"stream": lambda store, name: store.xrange(name),
}


def strange(broker: redis.Redis) -> list[str]:
    """Keys of the broker that are not Celery's."""
    return [name for name in _names(broker) if DOORBELLS.fullmatch(name) is None]


def images_kept(ledger: redis.Redis) -> bool:
    """Whether images of jobs that may be retried still exist."""
    return any(IMAGES.match(name) and ledger.ttl(name) <= SOON for name in _names(ledger))


SOON: Final = 60
"""Seconds; images with a longer TTL were staged for a batch that was then not accepted."""


def _owned(ledger: redis.Redis, name: str, records: Mapping[str, Record]) -> bool:
    """Whether an image belongs to a job; one for a batch that was not accepted has a TTL and expires."""
    job_id = name.rpartition(":")[2]
    return job_id in records or ledger.ttl(name) == -1


def _names(store: redis.Redis, beginning: str = "") -> list[str]:
    pattern = beginning.replace("{", "\\{").replace("}", "\\}") + "*"
    return sorted(name.decode() for name in store.scan_iter(match=pattern, count=1000))


def _members(ledger: redis.Redis, name: str) -> list[str]:
    return [member.decode() for member in cast("list[bytes]", ledger.zrange(name, 0, -1))]


def _records(ledger: redis.Redis, prefix: str) -> Iterator[tuple[str, Record]]:
    for name in _names(ledger, f"{prefix}job:"):
        raw = cast("dict[bytes, bytes]", ledger.hgetall(name))
        steps = [step.decode().split(" ") for step in raw.get(b"history", b"").split(b";") if step]
        record = Record(
            key=str(json.loads(raw[b"metadata"]).get("key")),
            status=Status(raw[b"status"].decode()),
            attempts=int(raw[b"attempts"]),
            history=tuple(Status(status) for status, _ in steps),
            index_key=raw[b"index_key"].decode(),
            times=tuple(float(at) for _, at in steps),
            retry_of=raw[b"retry_of"].decode() if b"retry_of" in raw else None,
            in_batch=b"batch" in raw,
        )
        yield name.removeprefix(f"{prefix}job:"), record


def _groups(ledger: redis.Redis, prefix: str) -> Iterator[tuple[str, Group]]:
    for name in _names(ledger, f"{prefix}batch:"):
        raw = {
            field.decode(): value.decode() for field, value in cast("dict[bytes, bytes]", ledger.hgetall(name)).items()
        }
        group = Group(
            key=str(json.loads(raw["metadata"]).get("key")),
            status=raw["status"],
            total=int(raw["total"]),
            ended=sum(int(raw.get(end, 0)) for end in ENDS),
        )
        yield name.removeprefix(f"{prefix}batch:"), group


def _images(store: redis.Redis) -> list[str]:
    """Keys made for images, and any other key that contains the first bytes of one."""
    return [name for name in _names(store) if IMAGES.match(name) or PNG in (store.dump(name) or b"")]

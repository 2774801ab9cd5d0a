"""What the ledger says of itself: how much waits, since when, how often what happened, how its servers are."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import redis

from shared.ledger import keys, scripts
from shared.ledger.connection import primaries, store_errors

MOST_DESTINATIONS: Final = 500
"""Destinations of one shard whose deliveries are counted; more would hold the server for too long."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard at one moment."""

    jobs: Mapping[str, int]
    """Jobs that wait, by queue: `high`, `normal`, `low`, and `fetch` for those whose image is still to come."""
    oldest: Mapping[str, float]
    """For how many seconds the first of each queue has waited."""
    running: int = 0
    outbox: int = 0
    """Ends that nobody has made deliveries of yet."""
    destinations: int = 0
    deliveries: int = 0
    """Deliveries that wait or are in hand, of the first `MOST_DESTINATIONS` destinations."""
    resting: int = 0
    """Destinations that nothing is sent to just now, because they failed."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """How often what happened, since the store was made: words with blanks between them, the first of them the kind:
    `accepted OPERATION`, `started OPERATION`, `ended OPERATION STATUS CODE`, `requeued`, `released`."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the ledger."""

    memory: int
    memory_limit: int
    """Bytes; 0 = none."""
    append_only: bool
    writes_well: bool
    """False where its last write to the append-only file failed."""
    delayed_syncs: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The whole ledger."""

    shards: tuple[Shard, ...]
    servers: Mapping[str, Server]
    """By address in a cluster; the only one is named by nothing."""


class Measures:
    """Measures the ledger. Safe to share between threads."""

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._measure = scripts.register(client, "measure", beside=__package__)

    def take(self) -> Measured:
        """Every shard and every server, now.

        Raises:
            UnavailableError: `store_unavailable`.
        """
        with store_errors():
            shards = tuple(self._shard(shard) for shard in range(self._shards))
            servers = {name: _server(one) for name, one in primaries(self._client).items()}
        return Measured(shards, servers)

    def _shard(self, shard: int) -> Shard:
        said = self._measure(keys=[keys.queue(shard)], args=[keys.prefix(shard), MOST_DESTINATIONS])
        return Shard(**json.loads(said))


def _server(server: redis.Redis) -> Server:
    found: dict[str, Any] = {**server.info("memory"), **server.info("persistence")}
    return Server(
        memory=int(found["used_memory"]),
        memory_limit=int(found["maxmemory"]),
        append_only=bool(found["aof_enabled"]),
        writes_well=found.get("aof_last_write_status", "ok") == "ok",
        delayed_syncs=int(found.get("aof_delayed_fsync", 0)),
    )

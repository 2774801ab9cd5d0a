"""Measurements of the ledger: queue lengths and ages, event counters, and the state of its servers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import redis

from shared.ledger import keys, scripts
from shared.ledger.connection import primaries, store_errors

MOST_DESTINATIONS: Final = 500
"""Maximum number of destinations per shard whose deliveries are counted. More would block the server for too long."""


@dataclass(frozen=True, slots=True)
class Shard:
    """One shard at one moment."""

    jobs: Mapping[str, int]
    """Waiting jobs by queue: `high`, `normal`, `low`, and `fetch` for jobs whose image has not been fetched yet."""
    oldest: Mapping[str, float]
    """Waiting time of the first job in each queue, in seconds."""
    running: int = 0
    outbox: int = 0
    """Events that no courier has taken yet."""
    destinations: int = 0
    deliveries: int = 0
    """Deliveries that are waiting or in progress, for the first `MOST_DESTINATIONS` destinations."""
    resting: int = 0
    """Destinations that are paused because they failed."""
    counts: Mapping[str, int] = field(default_factory=dict)
    """Event counters since the store was created. Names are words separated by spaces: `accepted OPERATION`,
    `started OPERATION`, `ended OPERATION STATUS CODE`, `requeued`, `released`."""


@dataclass(frozen=True, slots=True)
class Server:
    """One server of the ledger."""

    memory: int
    memory_limit: int
    """Bytes; 0 = no limit."""
    append_only: bool
    writes_well: bool
    """False if the last write to the append-only file failed."""
    delayed_syncs: int


@dataclass(frozen=True, slots=True)
class Measured:
    """The whole ledger."""

    shards: tuple[Shard, ...]
    servers: Mapping[str, Server]
    """By address in a cluster; a single server has an empty address."""


class Measures:
    """Measures the ledger. Thread-safe."""

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._measure = scripts.register(client, "measure", beside=__package__)

    def take(self) -> Measured:
        """Measure every shard and every server.

        Raises:
            UnavailableError: `store_unavailable`.
        """
        with store_errors():
            shards = tuple(self._shard(shard) for shard in range(self._shards))
            servers = {name: _server(primary) for name, primary in primaries(self._client).items()}
        return Measured(shards, servers)

    def _shard(self, shard: int) -> Shard:
        reply = self._measure(keys=[keys.queue(shard)], args=[keys.prefix(shard), MOST_DESTINATIONS])
        return Shard(**json.loads(reply))


def _server(server: redis.Redis) -> Server:
    info: dict[str, Any] = {**server.info("memory"), **server.info("persistence")}
    return Server(
        memory=int(info["used_memory"]),
        memory_limit=int(info["maxmemory"]),
        append_only=bool(info["aof_enabled"]),
        writes_well=info.get("aof_last_write_status", "ok") == "ok",
        delayed_syncs=int(info.get("aof_delayed_fsync", 0)),
    )

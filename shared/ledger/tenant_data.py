"""Finds all data of one tenant by walking through the whole store, to export or erase it."""

import re
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final, cast

import redis
from pydantic_core import from_json

from shared.jobs import Batch, Job
from shared.ledger import keys, scripts
from shared.ledger.batches.store import Batches
from shared.ledger.connection import primaries, store_errors
from shared.ledger.jobs.records import read_batch, read_job, readable
from shared.ledger.jobs.store import Ledger
from shared.ledger.sessions.store import Sessions, read_session
from shared.ledger.tenants.api_keys import ApiKeys
from shared.ledger.webhooks.endpoints import Endpoints
from shared.liveness_sessions import Session
from shared.tenants import ApiKey
from shared.webhooks.schemas import Endpoint

AT_ONCE: Final = 500
"""Keys to examine per request to the store."""

KEY: Final = re.compile(rf"{keys.ROOT}:\{{(\d+)\}}:(\w+):(.+)".encode(), re.DOTALL)
"""Shard, kind and the rest of a key."""


@dataclass(frozen=True, slots=True)
class Item:
    """A record or result on a shard, found by its key."""

    shard: int
    kind: str
    id: str
    """Id in the record; for a result, the rest of its key."""
    name: bytes
    """The full key."""


Record = Job | Batch | Session | Endpoint | ApiKey


class TenantData:
    """All data of one tenant. Thread-safe.

    Every method walks the whole store, all shards at once, without blocking it; the time grows with the store.

    Raises (every method):
        UnavailableError: `store_unavailable`; calling again continues with what is left.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        jobs: Ledger,
        batches: Batches,
        sessions: Sessions,
        endpoints: Endpoints,
        api_keys: ApiKeys,
    ) -> None:
        self._client = client
        self._jobs = jobs
        self._batches = batches
        self._sessions = sessions
        self._endpoints = endpoints
        self._api_keys = api_keys
        self._forget_event = scripts.register(client, "forget_event", beside=__package__)

    def all(self, tenant: str) -> Iterator[Record]:
        """Yield API keys, endpoints, batches, sessions and jobs; what is created meanwhile may be missing."""
        yield from self._api_keys.of(tenant)
        yield from self._endpoints.all(tenant=tenant)
        yield from readable("batch", self._records(tenant, "batch"), read_batch)
        yield from readable("session", self._records(tenant, "session"), read_session)
        yield from readable("job", self._records(tenant, "job"), read_job)

    def erase(self, tenant: str) -> Counter[str]:
        """Erase all data of the tenant and stop work on it.

        The tenant's record and audit log stay. Data that is created meanwhile may stay too: disable the tenant first,
        and repeat until nothing is left.

        Returns:
            How many items of each kind were erased; empty if there were none.
        """
        erased: Counter[str] = Counter()
        for key in self._api_keys.of(tenant):
            erased["keys"] += self._api_keys.revoke(key)
        for endpoint in self._endpoints.all(tenant=tenant):
            erased["endpoints"] += self._endpoints.delete(endpoint.id)
        for item in self._owned(tenant, "batch", "session"):
            if item.kind == "batch":
                erased["batches"] += self._batches.delete(item.id, tenant=tenant)
            else:
                erased["sessions"] += self._sessions.delete(item.id)
        for item in self._owned(tenant, "job"):
            erased["jobs"] += self._jobs.delete(item.id, tenant=tenant)
        for shard in range(self._jobs.shards):
            erased["outbox_rows"] += self._drop_outbox_rows(shard, tenant)
        for item in self._owned(tenant, "event", "result"):
            if item.kind == "event":
                erased["events"] += self._forget(item.shard, item.id)
            else:
                with store_errors():
                    erased["results"] += self._client.delete(item.name)
        with store_errors():
            for shard in range(self._jobs.shards):
                self._client.zrem(keys.queued_tenants(shard), tenant)
            self._client.srem(keys.ENDPOINT_TENANTS, tenant)
        return +erased

    def _records(self, tenant: str, kind: str) -> Iterator[dict[bytes, bytes]]:
        """Yield the records of this kind that belong to the tenant."""
        for items in _chunks(self._owned(tenant, kind)):
            with store_errors(), self._client.pipeline(transaction=False) as reads:
                for item in items:
                    reads.hgetall(item.name)
                rows = cast("list[dict[bytes, bytes]]", reads.execute())
            yield from (row for row in rows if row)

    def _owned(self, tenant: str, *kinds: str) -> Iterator[Item]:
        """Yield the items of these kinds that belong to the tenant, in one walk through all shards."""
        for items in self._walk(kinds):
            with store_errors(), self._client.pipeline(transaction=False) as reads:
                records = [item for item in items if item.kind != "result"]
                for item in records:
                    reads.hmget(item.name, "id", "tenant")
                rows = cast("list[list[bytes | None]]", reads.execute())
            for item, (name, owner) in zip(records, rows, strict=True):
                if name and owner == tenant.encode():
                    yield replace(item, id=name.decode())
            # A result has no record: its key ends with the tenant, and its job may be gone.
            yield from (item for item in items if item.kind == "result" and item.id.partition(":")[2] == tenant)

    def _drop_outbox_rows(self, shard: int, tenant: str) -> int:
        """Remove the tenant's events that no courier has taken yet."""
        with store_errors():
            rows = cast("list[bytes]", self._client.lrange(keys.outbox(shard), 0, -1))
            own = [row for row in rows if from_json(row).get("tenant") == tenant]
            return sum(int(self._client.lrem(keys.outbox(shard), 1, row.decode())) for row in own)

    def _forget(self, shard: int, name: str) -> int:
        with store_errors():
            return int(self._forget_event(keys=[keys.event(shard, name)], args=[keys.prefix(shard)]))

    def _walk(self, kinds: Collection[str]) -> Iterator[list[Item]]:
        """Yield every key of these kinds at least once, some at a time."""
        pattern = f"{keys.ROOT}:{{*}}:{next(iter(kinds)) if len(kinds) == 1 else ''}*"
        for server in primaries(self._client).values():
            cursor = 0
            while True:
                with store_errors():
                    cursor, names = cast("tuple[int, list[bytes]]", server.scan(cursor, match=pattern, count=AT_ONCE))
                items = [_item(match) for name in names if (match := KEY.fullmatch(name))]
                if matches := [item for item in items if item.kind in kinds]:
                    yield matches
                if cursor == 0:
                    break


def _item(match: re.Match[bytes]) -> Item:
    shard, kind, name = match.groups()
    return Item(int(shard), kind.decode(), name.decode(), match.string)


def _chunks(items: Iterator[Item]) -> Iterator[list[Item]]:
    while chunk := list(islice(items, AT_ONCE)):
        yield chunk

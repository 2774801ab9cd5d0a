"""All that one tenant has: found by a walk through the whole store, given out, or erased."""

from collections import Counter
from collections.abc import Iterator
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
"""Keys of the store that are looked at in one go."""

Belonging = Job | Batch | Session | Endpoint | ApiKey


class TenantData:
    """What a tenant has. A walk takes time in proportion to the whole store; it holds nobody up. Safe to share.

    Raises (every method):
        UnavailableError: `store_unavailable`; a walk begun anew finds what is left.
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

    def all(self, tenant: str) -> Iterator[Belonging]:
        """Keys, endpoints, batches, sessions and jobs, whole; what came meanwhile may be missing."""
        yield from self._api_keys.of(tenant)
        yield from self._endpoints.all(tenant=tenant)
        for shard in range(self._jobs.shards):
            yield from readable("batch", self._owned(shard, "batch", tenant), read_batch)
            yield from readable("session", self._owned(shard, "session", tenant), read_session)
            yield from readable("job", self._owned(shard, "job", tenant), read_job)

    def erase(self, tenant: str) -> Counter[str]:
        """Erase what the tenant has; how much there was of each kind. Whoever works at it is stopped.

        Its record and its audit log stay. What comes while it runs may stay: the tenant is to be disabled before, and
        it is to be run until nothing is found.
        """
        found: Counter[str] = Counter()
        for key in self._api_keys.of(tenant):
            found["keys"] += self._api_keys.revoke(key)
        for endpoint in self._endpoints.all(tenant=tenant):
            found["endpoints"] += self._endpoints.delete(endpoint.id)
        for shard in range(self._jobs.shards):
            for fields in self._owned(shard, "batch", tenant):
                found["batches"] += self._batches.delete(fields[b"id"].decode(), tenant=tenant)
            for fields in self._owned(shard, "session", tenant):
                found["sessions"] += self._sessions.delete(fields[b"id"].decode())
            for fields in self._owned(shard, "job", tenant):
                found["jobs"] += self._jobs.delete(fields[b"id"].decode(), tenant=tenant)
            found["untold"] += self._unsay(shard, tenant)
            for fields in self._owned(shard, "event", tenant):
                found["events"] += self._forget(shard, fields[b"id"].decode())
            found["results"] += self._forget_results(shard, tenant)
            with store_errors():
                self._client.zrem(keys.queued_tenants(shard), tenant)
        with store_errors():
            self._client.srem(keys.ENDPOINT_TENANTS, tenant)
        return +found

    def _owned(self, shard: int, kind: str, tenant: str) -> Iterator[dict[bytes, bytes]]:
        """The records of this kind that are the tenant's."""
        for names in self._walk(f"{keys.prefix(shard)}{kind}:*"):
            with store_errors(), self._client.pipeline(transaction=False) as asked:
                for name in names:
                    asked.hmget(name, "id", "tenant")
                rows = cast("list[list[bytes | None]]", asked.execute())
            own = [name for name, (known, whose) in zip(names, rows, strict=True) if known and whose == tenant.encode()]
            with store_errors(), self._client.pipeline(transaction=False) as asked:
                for name in own:
                    asked.hgetall(name)
                yield from (row for row in cast("list[dict[bytes, bytes]]", asked.execute()) if row)

    def _unsay(self, shard: int, tenant: str) -> int:
        """Take what is still to be told of the tenant's ends out of the outbox."""
        with store_errors():
            rows = cast("list[bytes]", self._client.lrange(keys.outbox(shard), 0, -1))
            own = [row for row in rows if from_json(row).get("tenant") == tenant]
            return sum(int(self._client.lrem(keys.outbox(shard), 1, row.decode())) for row in own)

    def _forget(self, shard: int, name: str) -> int:
        with store_errors():
            return int(self._forget_event(keys=[keys.event(shard, name)], args=[keys.prefix(shard)]))

    def _forget_results(self, shard: int, tenant: str) -> int:
        """Erase results kept for repeated images, also those whose jobs are gone."""
        erased = 0
        for names in self._walk(f"{keys.prefix(shard)}result:*"):
            for name in names:
                if name.decode().partition("}:result:")[2].partition(":")[2] == tenant:
                    with store_errors():
                        erased += self._client.delete(name)
        return erased

    def _walk(self, pattern: str) -> Iterator[list[bytes]]:
        """The names that match, some at a time, each at least once."""
        for server in primaries(self._client).values():
            cursor = 0
            while True:
                with store_errors():
                    cursor, names = cast("tuple[int, list[bytes]]", server.scan(cursor, match=pattern, count=AT_ONCE))
                if names:
                    yield names
                if cursor == 0:
                    break

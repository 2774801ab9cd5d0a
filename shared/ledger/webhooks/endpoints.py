"""The store of webhook endpoints: one record each, and on every shard the ids of subscribed endpoints."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, cast

import redis

from shared.errors import ErrorCode, RequestError
from shared.ledger import keys, scripts
from shared.ledger.admission import refuse_if_void
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import pairs, readable
from shared.ledger.versions import Changes, expected, refuse_stale, written
from shared.tenants import ANYTHING, DEFAULT, Grant
from shared.webhooks.schemas import SUBSCRIBABLE, DisabledReason, Endpoint, EventType, PayloadForm, Secret

MOST: Final = 1000
"""Maximum number of endpoints per tenant."""
MAX_SECRETS: Final = 8
"""Maximum number of active secrets per endpoint. Each one adds a signature to every callback."""


class Endpoints:
    """The store of endpoints. Thread-safe.

    A script of one shard cannot read the records, so each shard has, for each event type, a set of subscribed
    endpoints. Sets are changed after the record, so every member has one. `mend` repairs what a crash between the two
    steps left.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards
        self._create = scripts.register(client, "endpoint_create", beside=__package__, parts=())
        self._changes = Changes(client)
        self._delete = scripts.register(client, "endpoint_delete", beside=__package__, parts=())
        self._rotate = scripts.register(client, "endpoint_rotate", beside=__package__, parts=())
        self._failed = scripts.register(client, "endpoint_failed", beside=__package__, parts=())

    def create(self, endpoint: Endpoint, *, grant: Grant = ANYTHING) -> Endpoint:
        """Store an endpoint with its first secret, enabled. It is notified of completions from now on.

        Raises:
            RequestError: `too_many_endpoints`; `forbidden`: the tenant was disabled or erased.
        """
        fields = {"id": endpoint.id, "tenant": endpoint.tenant, "enabled": "1", **written(endpoint, _WRITE)}
        with store_errors():
            created_at = self._create(
                keys=[
                    keys.endpoint(endpoint.id),
                    keys.endpoints(endpoint.tenant),
                    keys.ENDPOINT_TENANTS,
                    keys.webhook_fence(endpoint.tenant),
                ],
                args=[
                    endpoint.id,
                    json.dumps(fields),
                    endpoint.secrets[0].value,
                    MOST,
                    endpoint.tenant,
                    "" if grant.since is None else repr(grant.since),
                ],
            )
        if created_at == b"void":
            refuse_if_void([b"void", b"tenant"])
        if created_at is None:
            detail = f"The tenant already has {MOST} endpoints, the maximum. Delete one first."
            raise RequestError(ErrorCode.TOO_MANY_ENDPOINTS, detail)
        created = self.read(endpoint.id)
        if created is None:  # deleted meanwhile
            raise RequestError(ErrorCode.ENDPOINT_NOT_FOUND, "The endpoint was deleted while it was being created.")
        self._listen(created)
        return created

    def read(self, endpoint_id: str) -> Endpoint | None:
        """Return the endpoint, or None if it does not exist."""
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.endpoint(endpoint_id)))
        return _read(fields) if fields else None

    def all(self, *, tenant: str = DEFAULT) -> list[Endpoint]:
        """Return every endpoint of the tenant, newest first."""
        with store_errors():
            ids = cast("list[bytes]", self._client.zrevrange(keys.endpoints(tenant), 0, -1))
            with self._client.pipeline(transaction=False) as pipeline:
                for endpoint_id in ids:
                    pipeline.hgetall(keys.endpoint(endpoint_id.decode()))
                rows = cast("list[dict[bytes, bytes]]", pipeline.execute())
        return list(readable("endpoint", filter(None, rows), _read))

    def listening(self, shard: int, event_type: EventType, *, tenant: str = DEFAULT) -> list[str]:
        """Return the ids of the tenant's endpoints that are notified of events of this type on this shard."""
        with store_errors():
            members = cast("set[bytes]", self._client.smembers(keys.listeners(shard, event_type, tenant)))
        return sorted(name.decode() for name in members)

    def change(
        self, endpoint_id: str, changes: Mapping[str, Any], *, versions: Collection[int] | None = None
    ) -> Endpoint | None:
        """Change the named fields of an endpoint and return it, or None if it does not exist.

        Args:
            endpoint_id: the endpoint.
            changes: new values by field: `url`, `description`, `events`, `payload`, `include_embeddings`, `headers`.
            versions: expected versions of the record; None for any.

        Raises:
            RequestError: `precondition_failed`.
        """
        texts = {name: _WRITE[name](value) for name, value in changes.items()}
        return self._changed(endpoint_id, texts, versions=versions)

    def enable(self, endpoint_id: str) -> Endpoint | None:
        """Enable an endpoint; it is notified of completions from now on. Return None if it does not exist."""
        removed = ("disabled_reason", "disabled_at", "failing_since")
        return self._changed(endpoint_id, {"enabled": "1"}, removed=removed)

    def disable(self, endpoint_id: str, reason: DisabledReason) -> Endpoint | None:
        """Disable an endpoint. Return None if it does not exist."""
        fields = {"enabled": "0", "disabled_reason": reason.value}
        return self._changed(endpoint_id, fields, stamped=("disabled_at",))

    def rotate(self, endpoint_id: str, secret: str, *, overlap: timedelta) -> Endpoint | None:
        """Add a secret. Up to seven older ones stay valid for `overlap`. Return None if the endpoint does not exist."""
        with store_errors():
            row = self._rotate(keys=[keys.endpoint(endpoint_id)], args=[secret, overlap.total_seconds(), MAX_SECRETS])
        return None if row is None else _read(pairs(row))

    def failed(self, endpoint_id: str) -> timedelta | None:
        """Record a failed attempt. Return the time since the first consecutive failure; None without an endpoint."""
        with store_errors():
            reply = self._failed(keys=[keys.endpoint(endpoint_id)])
        return None if reply is None else timedelta(seconds=float(reply[1]) - float(reply[0]))

    def succeeded(self, endpoint_id: str) -> None:
        """Record a successful attempt."""
        with store_errors():
            self._client.hdel(keys.endpoint(endpoint_id), "failing_since")

    def delete(self, endpoint_id: str, *, versions: Collection[int] | None = None) -> bool:
        """Erase an endpoint and its secrets. Return False if it does not exist. Pending deliveries are not sent.

        The record is erased first: a concurrent change then finds none and removes the endpoint from the sets.

        Raises:
            RequestError: `precondition_failed`.
        """
        endpoint = self.read(endpoint_id)
        if endpoint is None:
            return False
        with store_errors():
            deleted = self._delete(
                keys=[keys.endpoint(endpoint_id), keys.endpoints(endpoint.tenant)],
                args=[endpoint_id, expected(versions)],
            )
        refuse_stale(deleted)
        self._write_listeners(replace(endpoint, enabled=False))
        return bool(deleted)

    def mend(self) -> None:
        """Make the sets of subscribed endpoints match the records."""
        with store_errors():
            tenants = cast("set[bytes]", self._client.smembers(keys.ENDPOINT_TENANTS))
        for tenant in sorted({DEFAULT, *(name.decode() for name in tenants)}):
            for endpoint in self.all(tenant=tenant):
                self._listen(endpoint)
            for shard in range(self._shards):
                for event_type in SUBSCRIBABLE:
                    self._drop_unsubscribed(shard, event_type, tenant)

    def _drop_unsubscribed(self, shard: int, event_type: EventType, tenant: str) -> None:
        key = keys.listeners(shard, event_type, tenant)
        with store_errors():
            members = cast("set[bytes]", self._client.smembers(key))
        for member in sorted(members):
            endpoint_id = member.decode()
            endpoint = self.read(endpoint_id)  # after reading the set: a member added meanwhile has a record
            if endpoint is None or endpoint.tenant != tenant or not _is_subscribed(endpoint, event_type):
                with store_errors():
                    self._client.srem(key, endpoint_id)

    def _changed(
        self,
        endpoint_id: str,
        fields: Mapping[str, str],
        *,
        removed: Sequence[str] = (),
        stamped: Sequence[str] = (),
        versions: Collection[int] | None = None,
    ) -> Endpoint | None:
        key = keys.endpoint(endpoint_id)
        row = self._changes.apply(key, fields, removed=removed, stamped=stamped, versions=versions)
        if row is None:
            return None
        endpoint = _read(row)
        self._listen(endpoint)
        return endpoint

    def _listen(self, endpoint: Endpoint) -> None:
        """Make the sets match the record, even if it changes or is deleted meanwhile."""
        written = endpoint
        while True:
            self._write_listeners(written)
            current = self.read(endpoint.id) or replace(endpoint, enabled=False)
            if all(
                _is_subscribed(current, event_type) == _is_subscribed(written, event_type)
                for event_type in SUBSCRIBABLE
            ):
                return
            written = current

    def _write_listeners(self, endpoint: Endpoint) -> None:
        with store_errors(), self._client.pipeline(transaction=False) as pipeline:
            for shard in range(self._shards):
                for event_type in SUBSCRIBABLE:
                    key = keys.listeners(shard, event_type, endpoint.tenant)
                    (pipeline.sadd if _is_subscribed(endpoint, event_type) else pipeline.srem)(key, endpoint.id)
            pipeline.execute()


def _is_subscribed(endpoint: Endpoint, event_type: EventType) -> bool:
    return endpoint.enabled and event_type in endpoint.events


_WRITE: Final[Mapping[str, Callable[[Any], str]]] = {
    "url": str,
    "description": str,
    "events": json.dumps,
    "payload": lambda payload: str(payload.value),
    "include_embeddings": lambda included: str(int(included)),
    "headers": lambda headers: json.dumps(dict(headers)),
}
"""How to encode each field that the owner can change."""


def _read(fields: Mapping[bytes, bytes]) -> Endpoint:
    record: dict[str, str] = {name.decode(): value.decode() for name, value in fields.items()}
    reason, disabled_at, since = (record.get(name) for name in ("disabled_reason", "disabled_at", "failing_since"))
    return Endpoint(
        id=record["id"],
        url=record["url"],
        events=tuple(map(EventType, json.loads(record["events"]))),
        secrets=tuple(Secret(**secret) for secret in json.loads(record["secrets"])),
        tenant=record["tenant"],
        description=record["description"],
        payload=PayloadForm(record["payload"]),
        include_embeddings=record["include_embeddings"] == "1",
        headers=json.loads(record["headers"]),
        enabled=record["enabled"] == "1",
        disabled_reason=None if reason is None else DisabledReason(reason),
        disabled_at=None if disabled_at is None else float(disabled_at),
        failing_since=None if since is None else float(since),
        created_at=float(record["created_at"]),
        version=int(record["version"]),
    )

"""Webhook endpoints: who asked to be told, kept once, and beside every shard the ids of those who listen."""

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, Final, cast

import redis

from shared.errors import ErrorCode, RequestError
from shared.ledger import keys, scripts
from shared.ledger.admission import refuse_where_void
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import pairs, readable
from shared.ledger.versions import Changes, expected, refuse_stale, written
from shared.tenants import ANYTHING, DEFAULT, Grant
from shared.webhooks.schemas import SUBSCRIBABLE, DisabledReason, Endpoint, EventType, PayloadForm, Secret

MOST: Final = 1000
"""Endpoints that a tenant may register."""
MAX_SECRETS: Final = 8
"""Secrets that an endpoint signs with at once; each adds a signature to every callback."""


class Endpoints:
    """The registry of endpoints. Safe to share between threads.

    A script of one shard cannot look into the registry, so each shard has, for each type of event, the set of those
    who listen. A set is changed after the record: who is in it has one. `mend` heals what a crash left between the two.

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
        """Put an endpoint with its one secret on record, enabled; it is told of what ends from now on.

        Raises:
            RequestError: `too_many_endpoints`; `forbidden`: the tenant was disabled or erased.
        """
        fields = {"id": endpoint.id, "tenant": endpoint.tenant, "enabled": "1", **written(endpoint, _WRITE)}
        with store_errors():
            at = self._create(
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
        if at == b"void":
            refuse_where_void([b"void", b"tenant"])
        if at is None:
            raise RequestError(ErrorCode.TOO_MANY_ENDPOINTS, f"There are {MOST} endpoints already, which is the most.")
        created = self.read(endpoint.id)
        if created is None:  # deleted in this moment
            raise RequestError(ErrorCode.ENDPOINT_NOT_FOUND, "The endpoint was deleted as soon as it was made.")
        self._listen(created)
        return created

    def read(self, endpoint_id: str) -> Endpoint | None:
        """The endpoint, or None where there is none."""
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.endpoint(endpoint_id)))
        return _read(fields) if fields else None

    def all(self, *, tenant: str = DEFAULT) -> list[Endpoint]:
        """Every endpoint of the tenant, the newest first."""
        with store_errors():
            ids = cast("list[bytes]", self._client.zrevrange(keys.endpoints(tenant), 0, -1))
            with self._client.pipeline(transaction=False) as asked:
                for name in ids:
                    asked.hgetall(keys.endpoint(name.decode()))
                rows = cast("list[dict[bytes, bytes]]", asked.execute())
        return list(readable("endpoint", filter(None, rows), _read))

    def listening(self, shard: int, event_type: EventType, *, tenant: str = DEFAULT) -> list[str]:
        """The ids of the tenant's endpoints that are to be told of an event of this type on this shard, now."""
        with store_errors():
            members = cast("set[bytes]", self._client.smembers(keys.listeners(shard, event_type, tenant)))
        return sorted(name.decode() for name in members)

    def change(
        self, endpoint_id: str, changes: Mapping[str, Any], *, versions: Collection[int] | None = None
    ) -> Endpoint | None:
        """Change the named fields of an endpoint and no other; None if there is no such endpoint.

        Args:
            endpoint_id: whose record.
            changes: new values by field: `url`, `description`, `events`, `payload`, `include_embeddings`, `headers`.
            versions: those that the record may have; None for any.

        Raises:
            RequestError: `precondition_failed`.
        """
        texts = {name: _WRITE[name](value) for name, value in changes.items()}
        return self._changed(endpoint_id, texts, versions=versions)

    def enable(self, endpoint_id: str) -> Endpoint | None:
        """Tell it again, of what ends from now on. None where there is none."""
        gone = ("disabled_reason", "disabled_at", "failing_since")
        return self._changed(endpoint_id, {"enabled": "1"}, removed=gone)

    def disable(self, endpoint_id: str, reason: DisabledReason) -> Endpoint | None:
        """Tell it nothing more. None where there is none."""
        fields = {"enabled": "0", "disabled_reason": reason.value}
        return self._changed(endpoint_id, fields, stamped=("disabled_at",))

    def rotate(self, endpoint_id: str, secret: str, *, overlap: timedelta) -> Endpoint | None:
        """Sign with a new secret, and with up to seven older ones for so long. None if there is no such endpoint."""
        with store_errors():
            row = self._rotate(keys=[keys.endpoint(endpoint_id)], args=[secret, overlap.total_seconds(), MAX_SECRETS])
        return None if row is None else _read(pairs(row))

    def failed(self, endpoint_id: str) -> timedelta | None:
        """Note an attempt that came to nothing; how long none has come to anything. None where there is no endpoint."""
        with store_errors():
            found = self._failed(keys=[keys.endpoint(endpoint_id)])
        return None if found is None else timedelta(seconds=float(found[1]) - float(found[0]))

    def succeeded(self, endpoint_id: str) -> None:
        """Note an attempt that came to something."""
        with store_errors():
            self._client.hdel(keys.endpoint(endpoint_id), "failing_since")

    def delete(self, endpoint_id: str, *, versions: Collection[int] | None = None) -> bool:
        """Erase an endpoint and its secrets; False where there was none. What was still to be sent to it is not.

        The record goes first: a change at the same time then finds none, and takes the endpoint out of the sets again.

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
        """Make the sets beside the shards those of the registry again."""
        with store_errors():
            known = cast("set[bytes]", self._client.smembers(keys.ENDPOINT_TENANTS))
        for tenant in sorted({DEFAULT, *(name.decode() for name in known)}):
            for endpoint in self.all(tenant=tenant):
                self._listen(endpoint)
            for shard in range(self._shards):
                for event_type in SUBSCRIBABLE:
                    self._drop_strangers(shard, event_type, tenant)

    def _drop_strangers(self, shard: int, event_type: EventType, tenant: str) -> None:
        key = keys.listeners(shard, event_type, tenant)
        with store_errors():
            members = cast("set[bytes]", self._client.smembers(key))
        for member in sorted(members):
            name = member.decode()
            found = self.read(name)  # read after the set: whoever joined it meanwhile has a record
            if found is None or found.tenant != tenant or not _listens(found, event_type):
                with store_errors():
                    self._client.srem(key, name)

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
        """Bring the sets of listeners in line with the record, also where that changes or is deleted meanwhile."""
        written = endpoint
        while True:
            self._write_listeners(written)
            current = self.read(endpoint.id) or replace(endpoint, enabled=False)
            if all(_listens(current, event_type) == _listens(written, event_type) for event_type in SUBSCRIBABLE):
                return
            written = current

    def _write_listeners(self, endpoint: Endpoint) -> None:
        with store_errors(), self._client.pipeline(transaction=False) as heard:
            for shard in range(self._shards):
                for event_type in SUBSCRIBABLE:
                    key = keys.listeners(shard, event_type, endpoint.tenant)
                    (heard.sadd if _listens(endpoint, event_type) else heard.srem)(key, endpoint.id)
            heard.execute()


def _listens(endpoint: Endpoint, event_type: EventType) -> bool:
    return endpoint.enabled and event_type in endpoint.events


_WRITE: Final[Mapping[str, Callable[[Any], str]]] = {
    "url": str,
    "description": str,
    "events": json.dumps,
    "payload": lambda payload: str(payload.value),
    "include_embeddings": lambda included: str(int(included)),
    "headers": lambda headers: json.dumps(dict(headers)),
}
"""How each field that an owner decides is written."""


def _read(fields: Mapping[bytes, bytes]) -> Endpoint:
    found: dict[str, str] = {name.decode(): value.decode() for name, value in fields.items()}
    reason, disabled_at, since = (found.get(name) for name in ("disabled_reason", "disabled_at", "failing_since"))
    return Endpoint(
        id=found["id"],
        url=found["url"],
        events=tuple(map(EventType, json.loads(found["events"]))),
        secrets=tuple(Secret(**secret) for secret in json.loads(found["secrets"])),
        tenant=found["tenant"],
        description=found["description"],
        payload=PayloadForm(found["payload"]),
        include_embeddings=found["include_embeddings"] == "1",
        headers=json.loads(found["headers"]),
        enabled=found["enabled"] == "1",
        disabled_reason=None if reason is None else DisabledReason(reason),
        disabled_at=None if disabled_at is None else float(disabled_at),
        failing_since=None if since is None else float(since),
        created_at=float(found["created_at"]),
        version=int(found["version"]),
    )

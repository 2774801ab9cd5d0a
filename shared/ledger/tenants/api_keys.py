"""The store of API keys. A record has the public part and a digest of the secret, never the secret."""

import json
from collections.abc import Mapping
from typing import cast

import redis

from shared.ledger import keys, scripts
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import pairs, readable
from shared.ledger.tenants.fences import Fences
from shared.ledger.tenants.store import read_tenant
from shared.tenants import DEFAULT, ApiKey, Scope, Tenant


class ApiKeys:
    """The stored API keys. Thread-safe.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._fences = Fences(client, shards=shards)
        self._create = scripts.register(client, "key_create", beside=__package__, parts=())
        self._find = scripts.register(client, "key_find", beside=__package__, parts=())
        self._expire = scripts.register(client, "key_expire", beside=__package__, parts=())
        self._revoke = scripts.register(client, "key_revoke", beside=__package__, parts=())

    def create(self, key: ApiKey) -> ApiKey | None:
        """Store a key. Return None if its tenant does not exist."""
        fields = {
            "id": key.id,
            "tenant": key.tenant,
            "scopes": " ".join(sorted(key.scopes)),
            "digest": key.digest,
            "name": key.name,
            **({} if key.expires_at is None else {"expires_at": repr(key.expires_at)}),
        }
        with store_errors():
            created_at = self._create(
                keys=[keys.api_key(key.id), keys.api_keys(key.tenant), keys.tenant(key.tenant)],
                args=[key.id, json.dumps(fields), int(key.tenant == DEFAULT)],
            )
        return None if created_at is None else self.read(key.id)

    def find(self, key_id: str) -> tuple[ApiKey, Tenant] | None:
        """Return a key and its tenant in one round trip, and record the use of the key."""
        with store_errors():
            reply = self._find(keys=[keys.api_key(key_id)], args=[keys.tenant("")])
        if reply is None:
            return None
        key = _read(pairs(reply[0]))
        if not reply[1]:
            return (key, Tenant(DEFAULT)) if key.tenant == DEFAULT else None
        return key, read_tenant(pairs(reply[1]))

    def read(self, key_id: str) -> ApiKey | None:
        """Return the key, or None if it does not exist."""
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.api_key(key_id)))
        return _read(fields) if fields else None

    def of(self, tenant: str) -> list[ApiKey]:
        """Return every key of a tenant, newest first, including expired ones."""
        with store_errors():
            ids = cast("list[bytes]", self._client.zrevrange(keys.api_keys(tenant), 0, -1))
            with self._client.pipeline(transaction=False) as pipeline:
                for key_id in ids:
                    pipeline.hgetall(keys.api_key(key_id.decode()))
                rows = cast("list[dict[bytes, bytes]]", pipeline.execute())
        return list(readable("api_key", filter(None, rows), _read))

    def expire(self, key_id: str, *, at: float) -> ApiKey | None:
        """Let the key expire at this time unless it expires earlier. Return None if it does not exist."""
        with store_errors():
            row = self._expire(keys=[keys.api_key(key_id)], args=[repr(at)])
        return None if row is None else _read(pairs(row))

    def revoke(self, key: ApiKey) -> bool:
        """Erase a key. Return False if it was already erased.

        No work is accepted with the key from now on, and every gateway rejects it within seconds.
        """
        self._fences.close_key(key.id)
        with store_errors():
            return bool(self._revoke(keys=[keys.api_key(key.id), keys.api_keys(key.tenant)], args=[key.id]))


def _read(fields: Mapping[bytes, bytes]) -> ApiKey:
    record = {name.decode(): value.decode() for name, value in fields.items()}
    return ApiKey(
        id=record["id"],
        tenant=record["tenant"],
        # A scope of a newer version grants nothing here.
        scopes=frozenset(Scope(name) for name in record["scopes"].split() if name in frozenset(Scope)),
        digest=record["digest"],
        name=record["name"],
        created_at=float(record["created_at"]),
        expires_at=float(record["expires_at"]) if "expires_at" in record else None,
        last_used_at=float(record["last_used_at"]) if "last_used_at" in record else None,
    )

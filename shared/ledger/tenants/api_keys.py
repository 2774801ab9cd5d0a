"""API keys: kept by their public part, each with a digest of its secret, never the secret."""

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
    """The keys on record. Safe to share between threads.

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
        """Put a key on record; None where there is no such tenant."""
        fields = {
            "id": key.id,
            "tenant": key.tenant,
            "scopes": " ".join(sorted(key.scopes)),
            "digest": key.digest,
            "name": key.name,
            **({} if key.expires_at is None else {"expires_at": repr(key.expires_at)}),
        }
        with store_errors():
            at = self._create(
                keys=[keys.api_key(key.id), keys.api_keys(key.tenant), keys.tenant(key.tenant)],
                args=[key.id, json.dumps(fields), int(key.tenant == DEFAULT)],
            )
        return None if at is None else self.read(key.id)

    def find(self, key_id: str) -> tuple[ApiKey, Tenant] | None:
        """A key that is being used, with its tenant: one round trip, and its last use is noted."""
        with store_errors():
            found = self._find(keys=[keys.api_key(key_id)], args=[keys.tenant("")])
        if found is None:
            return None
        key = _read(pairs(found[0]))
        if not found[1]:
            return (key, Tenant(DEFAULT)) if key.tenant == DEFAULT else None
        return key, read_tenant(pairs(found[1]))

    def read(self, key_id: str) -> ApiKey | None:
        """The key, or None where there is none, or no more."""
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.api_key(key_id)))
        return _read(fields) if fields else None

    def of(self, tenant: str) -> list[ApiKey]:
        """Every key of a tenant, the newest first; those whose time is over among them."""
        with store_errors():
            ids = cast("list[bytes]", self._client.zrevrange(keys.api_keys(tenant), 0, -1))
            with self._client.pipeline(transaction=False) as asked:
                for name in ids:
                    asked.hgetall(keys.api_key(name.decode()))
                rows = cast("list[dict[bytes, bytes]]", asked.execute())
        return list(readable("api_key", filter(None, rows), _read))

    def expire(self, key_id: str, *, at: float) -> ApiKey | None:
        """The key is good until then at the latest; None where there is none."""
        with store_errors():
            row = self._expire(keys=[keys.api_key(key_id)], args=[repr(at)])
        return None if row is None else _read(pairs(row))

    def revoke(self, key: ApiKey) -> bool:
        """Erase a key; False where somebody else just did.

        From now on nothing is accepted that comes with it. Every gateway refuses it at the door within seconds.
        """
        self._fences.close_key(key.id)
        with store_errors():
            return bool(self._revoke(keys=[keys.api_key(key.id), keys.api_keys(key.tenant)], args=[key.id]))


def _read(fields: Mapping[bytes, bytes]) -> ApiKey:
    found = {name.decode(): value.decode() for name, value in fields.items()}
    return ApiKey(
        id=found["id"],
        tenant=found["tenant"],
        # A scope that only a newer version knows opens nothing here.
        scopes=frozenset(Scope(name) for name in found["scopes"].split() if name in frozenset(Scope)),
        digest=found["digest"],
        name=found["name"],
        created_at=float(found["created_at"]),
        expires_at=float(found["expires_at"]) if "expires_at" in found else None,
        last_used_at=float(found["last_used_at"]) if "last_used_at" in found else None,
    )

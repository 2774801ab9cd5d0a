"""Shuts tenants and API keys out of the steps that accept work, even if they were authenticated before.

A request is authorised when its head arrives and accepted when its body is complete, minutes later for a slow upload.
The scripts that accept work cannot read the registry, which is on no shard of jobs, so each shard has its own fences.
"""

from datetime import timedelta
from typing import Final

import redis

from shared.ledger import keys
from shared.ledger.connection import store_errors

FOR_GOOD: Final = timedelta(days=1)
"""How long erased tenants and revoked keys are shut out: longer than any upload takes."""
ALL: Final = "all"
"""The value of a fence that voids every grant; a number voids those of tenants created before that time."""


class Fences:
    """The fences of all shards. Thread-safe.

    Raises (every method):
        UnavailableError: `store_unavailable`; repeat the call, as some shards may have the change already.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._shards = shards

    def close_tenant(self, tenant: str, *, expires: timedelta | None = None) -> None:
        """Accept no more work for this tenant."""
        self._set("tenant", tenant, ALL, expires=expires)

    def open_tenant(self, tenant: str) -> None:
        """Accept work for this tenant again."""
        for fence in keys.fences(self._shards, "tenant", tenant):
            with store_errors():
                self._client.delete(fence)

    def renew_tenant(self, tenant: str, *, created_at: float) -> None:
        """Accept work for a new tenant, but not with grants of an erased tenant of the same name."""
        self._set("tenant", tenant, repr(created_at), expires=FOR_GOOD, replace=True)

    def close_key(self, key_id: str) -> None:
        """Accept no more work with this API key."""
        self._set("key", key_id, ALL, expires=FOR_GOOD)

    def _set(self, kind: str, name: str, value: str, *, expires: timedelta | None, replace: bool = False) -> None:
        for fence in keys.fences(self._shards, kind, name):
            with store_errors():
                self._client.set(fence, value, ex=expires, xx=replace)

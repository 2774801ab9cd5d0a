"""The store of tenants: names, quotas, policies, and whether they are disabled."""

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict
from typing import Any, Final, cast

import redis

from shared.ledger import keys, scripts
from shared.ledger.connection import store_errors
from shared.ledger.jobs.records import readable
from shared.ledger.tenants.fences import FOR_GOOD, Fences
from shared.ledger.versions import Changes, written
from shared.tenants import DEFAULT, Quotas, Tenant


class Tenants:
    """The stored tenants. The default tenant always exists. Thread-safe.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._fences = Fences(client, shards=shards)
        self._create = scripts.register(client, "tenant_create", beside=__package__, parts=())
        self._changes = Changes(client)

    def create(self, tenant: Tenant) -> Tenant | None:
        """Store a tenant. Return None if the id is already taken."""
        with store_errors():
            created_at = self._create(
                keys=[keys.tenant(tenant.id), keys.TENANTS],
                args=[tenant.id, json.dumps(written(tenant, _WRITE))],
            )
        if created_at is None:
            return None
        self._fences.renew_tenant(tenant.id, created_at=float(created_at))
        return self.read(tenant.id)

    def read(self, tenant_id: str) -> Tenant | None:
        """Return the tenant, or None if it does not exist."""
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.tenant(tenant_id)))
        if not fields:
            return Tenant(DEFAULT) if tenant_id == DEFAULT else None
        return read_tenant(fields)

    def all(self) -> list[Tenant]:
        """Return every tenant, newest first. The default tenant is the last."""
        with store_errors():
            ids = [name.decode() for name in cast("list[bytes]", self._client.zrevrange(keys.TENANTS, 0, -1))]
            with self._client.pipeline(transaction=False) as pipeline:
                for tenant_id in ids:
                    pipeline.hgetall(keys.tenant(tenant_id))
                rows = cast("list[dict[bytes, bytes]]", pipeline.execute())
        tenants = list(readable("tenant", filter(None, rows), read_tenant))
        return tenants if any(tenant.id == DEFAULT for tenant in tenants) else [*tenants, Tenant(DEFAULT)]

    def change(
        self, tenant_id: str, changes: Mapping[str, Any], *, versions: Collection[int] | None = None
    ) -> Tenant | None:
        """Change the named fields of a tenant and return it, or None if it does not exist.

        Args:
            tenant_id: the tenant.
            changes: new values by field: `name`, `disabled`, `quotas`, `quality_policy`.
            versions: expected versions of the record; None for any.

        Raises:
            RequestError: `precondition_failed`.
        """
        if tenant_id == DEFAULT:
            self.create(Tenant(DEFAULT))  # it has no record until the first change
        texts = {name: _WRITE[name](value) for name, value in changes.items()}
        row = self._changes.apply(keys.tenant(tenant_id), texts, versions=versions)
        if row is None:
            return None
        if "disabled" in changes:
            self._fence(tenant_id)
        return read_tenant(row)

    def _fence(self, tenant_id: str) -> None:
        """Make the fences match the record, even if it changes meanwhile."""
        fenced: bool | None = None
        while (tenant := self.read(tenant_id)) is not None and tenant.disabled is not fenced:
            fenced = tenant.disabled
            (self._fences.close_tenant if fenced else self._fences.open_tenant)(tenant_id)

    def delete(self, tenant_id: str) -> None:
        """Erase the record of a tenant but not its data. Its grants stay void, except those of the default tenant."""
        if tenant_id == DEFAULT:
            self._fences.open_tenant(tenant_id)
        else:
            self._fences.close_tenant(tenant_id, expires=FOR_GOOD)
        with store_errors():
            self._client.zrem(keys.TENANTS, tenant_id)
            self._client.delete(keys.tenant(tenant_id))


_WRITE: Final[Mapping[str, Callable[[Any], str]]] = {
    "name": str,
    "disabled": lambda disabled: str(int(disabled)),
    "quotas": lambda quotas: json.dumps(asdict(quotas)),
    "quality_policy": lambda policy: json.dumps(dict(policy)),
}
"""How to encode each field that an operator can change."""


def read_tenant(fields: Mapping[bytes, bytes]) -> Tenant:
    """Decode the record of a tenant. Fields of newer versions are ignored."""
    record = {name.decode(): value.decode() for name, value in fields.items()}
    quotas: dict[str, Any] = json.loads(record["quotas"])
    return Tenant(
        id=record["id"],
        name=record["name"],
        created_at=float(record["created_at"]),
        disabled=record["disabled"] == "1",
        quotas=Quotas(rate=quotas.get("rate"), burst=quotas.get("burst"), jobs=quotas.get("jobs")),
        quality_policy=json.loads(record["quality_policy"]),
        version=int(record["version"]),
    )

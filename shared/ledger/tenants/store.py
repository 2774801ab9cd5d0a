"""The registry of tenants: who they are, what they may have, and whether they are let in."""

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
    """The tenants on record. The default one is always there. Safe to share between threads.

    Raises (every method):
        UnavailableError: `store_unavailable`.
    """

    def __init__(self, client: redis.Redis, *, shards: int) -> None:
        self._client = client
        self._fences = Fences(client, shards=shards)
        self._create = scripts.register(client, "tenant_create", beside=__package__, parts=())
        self._changes = Changes(client)

    def create(self, tenant: Tenant) -> Tenant | None:
        """Put a tenant on record; None where there is one of this id."""
        with store_errors():
            at = self._create(
                keys=[keys.tenant(tenant.id), keys.TENANTS],
                args=[tenant.id, json.dumps(written(tenant, _WRITE))],
            )
        if at is None:
            return None
        self._fences.renew_tenant(tenant.id, created_at=float(at))
        return self.read(tenant.id)

    def read(self, tenant_id: str) -> Tenant | None:
        """The tenant, or None where there is none."""
        with store_errors():
            fields = cast("dict[bytes, bytes]", self._client.hgetall(keys.tenant(tenant_id)))
        if not fields:
            return Tenant(DEFAULT) if tenant_id == DEFAULT else None
        return read_tenant(fields)

    def all(self) -> list[Tenant]:
        """Every tenant, the newest first; the default one is the last."""
        with store_errors():
            ids = [name.decode() for name in cast("list[bytes]", self._client.zrevrange(keys.TENANTS, 0, -1))]
            with self._client.pipeline(transaction=False) as asked:
                for name in ids:
                    asked.hgetall(keys.tenant(name))
                rows = cast("list[dict[bytes, bytes]]", asked.execute())
        found = list(readable("tenant", filter(None, rows), read_tenant))
        return found if any(tenant.id == DEFAULT for tenant in found) else [*found, Tenant(DEFAULT)]

    def change(
        self, tenant_id: str, changes: Mapping[str, Any], *, versions: Collection[int] | None = None
    ) -> Tenant | None:
        """Change the named fields of a tenant and no other; None if there is no such tenant.

        Args:
            tenant_id: whose record.
            changes: new values by field: `name`, `disabled`, `quotas`, `quality_policy`.
            versions: those that the record may have; None for any.

        Raises:
            RequestError: `precondition_failed`.
        """
        if tenant_id == DEFAULT:
            self.create(Tenant(DEFAULT))  # it needs no record until something is to be said of it
        texts = {name: _WRITE[name](value) for name, value in changes.items()}
        row = self._changes.apply(keys.tenant(tenant_id), texts, versions=versions)
        if row is None:
            return None
        if "disabled" in changes:
            self._fence(tenant_id)
        return read_tenant(row)

    def _fence(self, tenant_id: str) -> None:
        """Bring the fences in line with the record, also where that changes meanwhile."""
        fenced: bool | None = None
        while (tenant := self.read(tenant_id)) is not None and tenant.disabled is not fenced:
            fenced = tenant.disabled
            (self._fences.close_tenant if fenced else self._fences.open_tenant)(tenant_id)

    def delete(self, tenant_id: str) -> None:
        """Forget a tenant; what it has is not touched. What was granted to it stays void, but for the default one."""
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
"""How each field that an operator decides is written."""


def read_tenant(fields: Mapping[bytes, bytes]) -> Tenant:
    """The tenant of these fields; what a newer version says beyond ours is left out."""
    found = {name.decode(): value.decode() for name, value in fields.items()}
    quotas: dict[str, Any] = json.loads(found["quotas"])
    return Tenant(
        id=found["id"],
        name=found["name"],
        created_at=float(found["created_at"]),
        disabled=found["disabled"] == "1",
        quotas=Quotas(rate=quotas.get("rate"), burst=quotas.get("burst"), jobs=quotas.get("jobs")),
        quality_policy=json.loads(found["quality_policy"]),
        version=int(found["version"]),
    )

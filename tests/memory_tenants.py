"""Tenants and their keys in dictionaries, beside `tests/memory_ledger.py`."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from shared.ledger.tenants.api_keys import ApiKeys
from shared.ledger.tenants.audit import Audit, Entry
from shared.ledger.tenants.store import Tenants
from shared.ledger.versions import refuse_stale
from shared.tenants import DEFAULT, ApiKey, Scope, Tenant, new_key

if TYPE_CHECKING:
    from tests.memory_ledger import MemoryLedger


class MemoryTenants(Tenants):
    """The registry in a dictionary."""

    def __init__(self, ledger: "MemoryLedger") -> None:
        self._ledger = ledger
        self.kept: dict[str, Tenant] = {}

    def create(self, tenant: Tenant) -> Tenant | None:
        now = self._ledger.step()
        if tenant.id in self.kept:
            return None
        self.kept[tenant.id] = replace(tenant, created_at=now)
        return self.kept[tenant.id]

    def read(self, tenant_id: str) -> Tenant | None:
        self._ledger.step()
        return self.kept.get(tenant_id) or (Tenant(DEFAULT) if tenant_id == DEFAULT else None)

    def all(self) -> list[Tenant]:
        self._ledger.step()
        return list({DEFAULT: Tenant(DEFAULT), **self.kept}.values())[::-1]

    def change(
        self, tenant_id: str, changes: Mapping[str, Any], *, versions: Collection[int] | None = None
    ) -> Tenant | None:
        self._ledger.step()
        tenant = self.kept.get(tenant_id) or (Tenant(DEFAULT) if tenant_id == DEFAULT else None)
        if tenant is None:
            return None
        if versions is not None and tenant.version not in versions:
            refuse_stale(b"stale")
        self.kept[tenant_id] = replace(tenant, **changes, version=tenant.version + 1)
        return self.kept[tenant_id]

    def delete(self, tenant_id: str) -> None:
        self._ledger.step()
        self.kept.pop(tenant_id, None)


class MemoryApiKeys(ApiKeys):
    """Keys in a dictionary. `found` counts the round trips of gates."""

    def __init__(self, ledger: "MemoryLedger") -> None:
        self._ledger = ledger
        self.kept: dict[str, ApiKey] = {}
        self.found = 0

    def give(self, tenant: str, *scopes: Scope, expires_at: float | None = None) -> str:
        """A fresh key, whole; its tenant is made where it is new."""
        public, whole, digest = new_key()
        self._ledger.tenants.create(Tenant(tenant))
        self.create(ApiKey(public, tenant, frozenset(scopes or Scope), digest, expires_at=expires_at))
        return whole

    def create(self, key: ApiKey) -> ApiKey | None:
        now = self._ledger.step()
        if self._ledger.tenants.read(key.tenant) is None:
            return None
        self.kept[key.id] = replace(key, created_at=now)
        return self.kept[key.id]

    def find(self, key_id: str) -> tuple[ApiKey, Tenant] | None:
        now = self._ledger.step()
        self.found += 1
        key = self.kept.get(key_id)
        tenant = self._ledger.tenants.read(key.tenant) if key else None
        if key is None or tenant is None:
            return None
        self.kept[key_id] = replace(key, last_used_at=now)
        return key, tenant

    def read(self, key_id: str) -> ApiKey | None:
        self._ledger.step()
        return self.kept.get(key_id)

    def of(self, tenant: str) -> list[ApiKey]:
        self._ledger.step()
        return [key for key in reversed(self.kept.values()) if key.tenant == tenant]

    def expire(self, key_id: str, *, at: float) -> ApiKey | None:
        self._ledger.step()
        key = self.kept.get(key_id)
        if key is None:
            return None
        self.kept[key_id] = replace(key, expires_at=at if key.expires_at is None else min(at, key.expires_at))
        return self.kept[key_id]

    def revoke(self, key: ApiKey) -> bool:
        self._ledger.step()
        return self.kept.pop(key.id, None) is not None


class MemoryAudit(Audit):
    """Logs in a list, which grows for ever."""

    def __init__(self, ledger: "MemoryLedger") -> None:
        self._ledger = ledger
        self.kept: list[Entry] = []

    def add(self, entries: Sequence[Entry], *, keep: timedelta) -> None:
        del keep
        now = self._ledger.step()
        self.kept += [replace(entry, id=f"{round(now * 1000)}-{n}", at=now) for n, entry in enumerate(entries)]

    def page(self, tenant: str, *, limit: int, before: str | None = None) -> list[Entry]:
        self._ledger.step()
        own = [entry for entry in reversed(self.kept) if entry.tenant == tenant]
        return [entry for entry in own if before is None or entry.id < before][:limit]

    def forget(self, tenant: str) -> bool:
        self._ledger.step()
        before = len(self.kept)
        self.kept = [entry for entry in self.kept if entry.tenant != tenant]
        return len(self.kept) < before

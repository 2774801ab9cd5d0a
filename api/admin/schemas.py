"""Tenants, keys and the audit log as the API describes them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from shared.job_content import rfc3339
from shared.ledger.tenants.audit import Entry
from shared.submitted import Submitted
from shared.tenants import MIN_RATE, ApiKey, Quotas, Scope, Tenant

_TENANT_ID = Field(pattern="^[a-z0-9][a-z0-9_-]{0,39}$", description="1 to 40 of a-z, 0-9, _ and -.", examples=["acme"])
_SCOPES = Field(min_length=1, max_length=len(Scope), description="What the key may do.")


class QuotasBody(Submitted):
    """How much a tenant may have; null leaves it to the settings of the service."""

    rate: float | None = Field(
        default=None, strict=True, ge=MIN_RATE, le=1e6, description="Requests per second of each of its keys."
    )
    burst: int | None = Field(default=None, strict=True, ge=1, le=1_000_000, description="Requests of a key at once.")
    jobs: int | None = Field(
        default=None, strict=True, ge=0, le=10_000_000, description="Jobs that wait or run at once."
    )


class TenantSubmission(Submitted):
    """A new tenant."""

    id: str = _TENANT_ID
    name: str = Field(default="", max_length=200)
    quotas: QuotasBody = Field(default_factory=QuotasBody)
    quality_policy: dict[str, Any] = Field(
        default_factory=dict, description="What its registrations ask for where they do not say it; at most 4096 bytes."
    )


class TenantChange(Submitted):
    """What is to be another way; what is left out stays."""

    name: str | None = Field(default=None, max_length=200)
    disabled: bool | None = Field(default=None, strict=True, description="Nobody is let in for it.")
    quotas: QuotasBody | None = None
    quality_policy: dict[str, Any] | None = None


class TenantBody(BaseModel):
    """A tenant."""

    id: str
    name: str
    created_at: datetime | None
    disabled: bool
    quotas: QuotasBody
    quality_policy: dict[str, Any]


class TenantList(BaseModel):
    """Every tenant."""

    tenants: list[TenantBody]


class Erased(BaseModel):
    """What was erased of a tenant, by kind, and whether a last look found nothing more."""

    tenant: str
    erased: dict[str, int]
    nothing_left: bool


class KeySubmission(Submitted):
    """A new key."""

    tenant: str = _TENANT_ID
    scopes: list[Scope] = _SCOPES
    name: str = Field(default="", max_length=200, description="What it is for.")
    expires_in: float | None = Field(
        default=None, strict=True, gt=0, le=100 * 366 * 86400, description="Seconds; null = until revoked."
    )


class KeyRotation(Submitted):
    """How a key is followed by another."""

    overlap_seconds: float = Field(
        default=3600, strict=True, ge=0, le=30 * 86400, description="How long the old one stays good."
    )


class KeyBody(BaseModel):
    """A key, without what opens anything."""

    id: str = Field(description="Its public part, between `vk_` and the second `_`.")
    tenant: str
    scopes: list[Scope]
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute.")


class KeyWithSecret(KeyBody):
    """A key that was just made."""

    key: str = Field(description="The whole key, shown this once.", examples=["vk_0a1b2c3d4e5f_..."])


class KeyList(BaseModel):
    """The keys of a tenant."""

    keys: list[KeyBody]


class AuditEntry(BaseModel):
    """One act of a caller."""

    id: str
    at: datetime
    tenant: str
    key: str = Field(description="The public part of the key, or `jwt:` and the subject of the token.")
    action: str = Field(description="The call, by its `operationId`.")
    subject: str = Field(description="What it was done to; empty where there is no one thing.")
    status: int
    request_id: str


class AuditPage(BaseModel):
    """Some of the audit log, the newest first."""

    entries: list[AuditEntry]
    next_before: str | None = Field(description="`before` of the next page; null where this is the last.")


def tenant_content(tenant: Tenant) -> dict[str, Any]:
    """The tenant as `TenantBody` describes it."""
    return {
        "id": tenant.id,
        "name": tenant.name,
        "created_at": rfc3339(tenant.created_at) if tenant.created_at else None,
        "disabled": tenant.disabled,
        "quotas": quotas_content(tenant.quotas),
        "quality_policy": dict(tenant.quality_policy),
    }


def quotas_content(quotas: Quotas) -> dict[str, Any]:
    """Quotas as `QuotasBody` describes them."""
    return {"rate": quotas.rate, "burst": quotas.burst, "jobs": quotas.jobs}


def key_content(key: ApiKey, *, whole: str | None = None) -> dict[str, Any]:
    """The key as `KeyBody` describes it; with the `whole` of it where it was just made."""
    return {
        "id": key.id,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "name": key.name,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "last_used_at": rfc3339(key.last_used_at),
        **({} if whole is None else {"key": whole}),
    }


def entry_content(entry: Entry) -> dict[str, Any]:
    """The entry as `AuditEntry` describes it."""
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "tenant": entry.tenant,
        "key": entry.key,
        "action": entry.action,
        "subject": entry.subject,
        "status": entry.status,
        "request_id": entry.request_id,
    }

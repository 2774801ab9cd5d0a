"""Request and response bodies of tenants, API keys, and the audit log."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from shared.job_content import rfc3339
from shared.ledger.tenants.audit import Entry
from shared.submitted import Submitted
from shared.tenants import MIN_RATE, ApiKey, Quotas, Scope, Tenant

_TENANT_ID = Field(
    pattern="^[a-z0-9][a-z0-9_-]{0,39}$",
    description="1 to 40 characters: a-z, 0-9, _ and -. It must start with a letter or digit.",
    examples=["acme"],
)
_SCOPES = Field(min_length=1, max_length=len(Scope), description="What the key is allowed to do.")


class QuotasBody(Submitted):
    """Limits of a tenant. Null means the default from the service settings."""

    rate: float | None = Field(
        default=None, strict=True, ge=MIN_RATE, le=1e6, description="Requests per second for each API key."
    )
    burst: int | None = Field(
        default=None, strict=True, ge=1, le=1_000_000, description="Burst size for each API key, in requests."
    )
    jobs: int | None = Field(
        default=None, strict=True, ge=0, le=10_000_000, description="Queued and running jobs at the same time."
    )


class TenantSubmission(Submitted):
    """A new tenant."""

    id: str = _TENANT_ID
    name: str = Field(default="", max_length=200)
    quotas: QuotasBody = Field(default_factory=QuotasBody)
    quality_policy: dict[str, Any] = Field(
        default_factory=dict,
        description="Default quality policy of the tenant's registrations, at most 4096 bytes as JSON.",
    )


class TenantChange(Submitted):
    """Changes to a tenant. Missing fields keep their values."""

    name: str | None = Field(default=None, max_length=200)
    disabled: bool | None = Field(default=None, strict=True, description="True rejects every request of the tenant.")
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
    """Counts of the erased records of a tenant by kind, and whether a final scan found nothing more."""

    tenant: str
    erased: dict[str, int]
    nothing_left: bool


class KeySubmission(Submitted):
    """A new key."""

    tenant: str = _TENANT_ID
    scopes: list[Scope] = _SCOPES
    name: str = Field(default="", max_length=200, description="Name of the key, for your own reference.")
    expires_in: float | None = Field(
        default=None,
        strict=True,
        gt=0,
        le=100 * 366 * 86400,
        description="Lifetime in seconds; null means until revoked.",
    )


class KeyRotation(Submitted):
    """Options of a key rotation."""

    overlap_seconds: float = Field(
        default=3600, strict=True, ge=0, le=30 * 86400, description="How long the old key remains valid."
    )


class KeyBody(BaseModel):
    """An API key without its secret."""

    id: str = Field(description="Public part of the key, between `vk_` and the second `_`.")
    tenant: str
    scopes: list[Scope]
    name: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None = Field(description="Time of the last use, to the minute.")


class KeyWithSecret(KeyBody):
    """A new API key with its secret."""

    key: str = Field(description="The complete key. It is shown only once.", examples=["vk_0a1b2c3d4e5f_..."])


class KeyList(BaseModel):
    """The API keys of a tenant."""

    keys: list[KeyBody]


class AuditEntry(BaseModel):
    """One call in the audit log."""

    id: str
    at: datetime
    tenant: str
    key: str = Field(description="Public part of the API key, or `jwt:` and the subject of the token.")
    action: str = Field(description="The `operationId` of the call.")
    subject: str = Field(description="Id of the record that the call acted on; empty if there is no single record.")
    status: int
    request_id: str


class AuditPage(BaseModel):
    """A page of the audit log, newest first."""

    entries: list[AuditEntry]
    next_before: str | None = Field(description="`before` of the next page; null on the last page.")


def tenant_content(tenant: Tenant) -> dict[str, Any]:
    """The JSON content of a `TenantBody`."""
    return {
        "id": tenant.id,
        "name": tenant.name,
        "created_at": rfc3339(tenant.created_at) if tenant.created_at else None,
        "disabled": tenant.disabled,
        "quotas": quotas_content(tenant.quotas),
        "quality_policy": dict(tenant.quality_policy),
    }


def quotas_content(quotas: Quotas) -> dict[str, Any]:
    """The JSON content of a `QuotasBody`."""
    return {"rate": quotas.rate, "burst": quotas.burst, "jobs": quotas.jobs}


def key_content(key: ApiKey, *, secret: str | None = None) -> dict[str, Any]:
    """The JSON content of a `KeyBody`; with `secret`, of a `KeyWithSecret`."""
    return {
        "id": key.id,
        "tenant": key.tenant,
        "scopes": sorted(key.scopes),
        "name": key.name,
        "created_at": rfc3339(key.created_at),
        "expires_at": rfc3339(key.expires_at),
        "last_used_at": rfc3339(key.last_used_at),
        **({} if secret is None else {"key": secret}),
    }


def entry_content(entry: Entry) -> dict[str, Any]:
    """The JSON content of an `AuditEntry`."""
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

"""Tenants and API keys: who owns a record, and what a caller may do."""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

DEFAULT: Final = "default"
"""The tenant of every caller if authentication is off."""
MAX_POLICY_BYTES: Final = 4096
MIN_RATE: Final = 0.001
"""Requests per second: one per quarter of an hour. With lower rates, waiting times overflow."""

_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_KEY: Final = re.compile(r"vk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_KEY_ID: Final = re.compile(r"[0-9a-f]{12}")


class Scope(StrEnum):
    """What a caller may do, within its own tenant; `admin` manages all tenants and keys."""

    JOBS_WRITE = "jobs:write"
    JOBS_READ = "jobs:read"
    WEBHOOKS_ADMIN = "webhooks:admin"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Quotas:
    """Limits of a tenant. None means the default from the settings of the service."""

    rate: float | None = None
    """Sustained requests per second for each of its keys."""
    burst: int | None = None
    """Requests that a key may send at once."""
    jobs: int | None = None
    """Jobs that may be queued or running at once."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller was granted on authentication. The step that accepts its work checks it again."""

    jobs: int | None = None
    """Jobs that the tenant may have queued or running; None for no limit."""
    key: str | None = None
    """Public part of the API key; None for tokens, which cannot be revoked."""
    since: float | None = None
    """When the tenant was created, to distinguish it from a later namesake; None if authentication is off."""


ANYTHING: Final = Grant()
"""The grant of every caller if authentication is off: nothing needs to be checked again."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant. Times are seconds since the epoch by the ledger's clock."""

    id: str
    name: str = ""
    created_at: float = 0.0
    disabled: bool = False
    """If true, its callers are rejected. Its data stays, and queued jobs are still done."""
    quotas: Quotas = field(default_factory=Quotas)
    quality_policy: Mapping[str, Any] = field(default_factory=dict)
    """Quality limits for registrations that set none themselves. Stored as submitted."""
    version: int = 1
    """Number of changes to the record."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A stored API key: its public part and a digest, never the secret. Times are seconds since the epoch."""

    id: str
    """The public part, shown in lists and logs."""
    tenant: str
    scopes: frozenset[Scope]
    digest: str = field(repr=False)
    name: str = ""
    created_at: float = 0.0
    expires_at: float | None = None
    last_used_at: float | None = None
    """Accurate to a minute."""

    def valid(self, secret: str, *, now: float) -> bool:
        """Return whether the secret belongs to this key and the key has not expired. Runs in constant time."""
        matches = hmac.compare_digest(digest_of(secret), self.digest)
        return matches and (self.expires_at is None or now < self.expires_at)


def is_tenant_id(text: str) -> bool:
    """Return whether `text` has the form of a tenant id. The tenant need not exist."""
    return _TENANT.fullmatch(text) is not None


def is_key_id(text: str) -> bool:
    """Return whether `text` has the form of a key's public part."""
    return _KEY_ID.fullmatch(text) is not None


def new_key() -> tuple[str, str, str]:
    """Return a new API key: its public part, the full key to show once, and the digest to store."""
    public, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return public, f"vk_{public}_{secret}", digest_of(secret)


def read_key(text: str) -> tuple[str, str] | None:
    """Return the public part and the secret of an API key. None if the text is not a key."""
    match = _KEY.fullmatch(text)
    return None if match is None else (match[1], match[2])


def digest_of(secret: str) -> str:
    """Return the digest of a secret. With 256 random bits a plain hash is enough (docs/decisions/0034)."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_policy(policy: Mapping[str, Any]) -> None:
    """Check that a quality policy can be stored.

    Raises:
        ValueError: the policy is not JSON, or is too large.
    """
    size = len(json.dumps(dict(policy), allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode())
    if size > MAX_POLICY_BYTES:
        msg = f"has {size} bytes; at most {MAX_POLICY_BYTES} are allowed"
        raise ValueError(msg)

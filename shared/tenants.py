"""Tenants and their keys: whose a record is, and what a caller may do with what is its tenant's."""

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
"""The tenant of every caller where authentication is off."""
MAX_POLICY_BYTES: Final = 4096
MIN_RATE: Final = 0.001
"""Requests per second: one in a quarter of an hour. Below it, waiting times outgrow what a clock can hold."""

_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,39}")
_KEY: Final = re.compile(r"vk_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_KEY_ID: Final = re.compile(r"[0-9a-f]{12}")


class Scope(StrEnum):
    """What a caller may do: for its own tenant alone, but for `admin`, which keeps tenants and keys."""

    JOBS_WRITE = "jobs:write"
    JOBS_READ = "jobs:read"
    WEBHOOKS_ADMIN = "webhooks:admin"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much a tenant may have; None leaves it to the settings of the service."""

    rate: float | None = None
    """Requests per second of each of its keys, over time."""
    burst: int | None = None
    """Requests of a key at once."""
    jobs: int | None = None
    """Jobs that wait or run at once."""


@dataclass(frozen=True, slots=True)
class Grant:
    """What a caller was granted when it was let in. The step that accepts its work checks it again."""

    jobs: int | None = None
    """Jobs that the tenant may have waiting or running; None for any number."""
    key: str | None = None
    """Public part of the API key; None for tokens, which nobody revokes."""
    since: float | None = None
    """When the tenant was created, so that a namesake is told from it; None where nobody authenticates."""


ANYTHING: Final = Grant()
"""Where nobody authenticates there is nothing to check again."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """One tenant. Times are seconds since the epoch by the ledger's clock."""

    id: str
    name: str = ""
    created_at: float = 0.0
    disabled: bool = False
    """Nobody is let in for it; what it has stays, and what waits is done."""
    quotas: Quotas = field(default_factory=Quotas)
    quality_policy: Mapping[str, Any] = field(default_factory=dict)
    """What its registrations ask for where they do not say it themselves; kept here as it was given."""
    version: int = 1
    """Counts the changes of its record."""


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key as it is kept: its public part and a digest, never the key. Times are seconds since the epoch."""

    id: str
    """The public part: what lists and logs show."""
    tenant: str
    scopes: frozenset[Scope]
    digest: str = field(repr=False)
    name: str = ""
    created_at: float = 0.0
    expires_at: float | None = None
    last_used_at: float | None = None
    """To the minute."""

    def valid(self, secret: str, *, now: float) -> bool:
        """True if the secret is this key's and its time is not over. Takes as long for any wrong secret."""
        right = hmac.compare_digest(digest_of(secret), self.digest)
        return right and (self.expires_at is None or now < self.expires_at)


def is_tenant_id(text: str) -> bool:
    """True if `text` has the form of a tenant's id; says nothing about whether there is such a tenant."""
    return _TENANT.fullmatch(text) is not None


def is_key_id(text: str) -> bool:
    """True if `text` has the form of a key's public part."""
    return _KEY_ID.fullmatch(text) is not None


def new_key() -> tuple[str, str, str]:
    """A fresh key: its public part, the whole as it is shown this once, and the digest that is kept."""
    public, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return public, f"vk_{public}_{secret}", digest_of(secret)


def read_key(text: str) -> tuple[str, str] | None:
    """The public part and the secret of a key; None where the text is none."""
    found = _KEY.fullmatch(text)
    return None if found is None else (found[1], found[2])


def digest_of(secret: str) -> str:
    """What is kept of a secret. It has 256 random bits, so a plain hash is enough (docs/decisions/0034)."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_policy(policy: Mapping[str, Any]) -> None:
    """Return where a quality policy can be kept.

    Raises:
        ValueError: it is no JSON, or too large.
    """
    size = len(json.dumps(dict(policy), allow_nan=False, separators=(",", ":"), ensure_ascii=False).encode())
    if size > MAX_POLICY_BYTES:
        msg = f"has {size} bytes; at most {MAX_POLICY_BYTES} are kept"
        raise ValueError(msg)

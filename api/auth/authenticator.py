"""Authenticate requests: find the caller's tenant, key, and scopes, and apply rate limits."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final, Generic, TypeVar

from anyio import to_thread
from starlette.datastructures import Headers

from api.auth.jwks import reader
from api.auth.jwt import Tokens, invalid_credentials
from api.auth.rate_limits import Buckets, Decision
from api.settings.auth import AuthSettings
from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.ledger.tenants.api_keys import ApiKeys
from shared.ledger.tenants.store import Tenants
from shared.tenants import ANYTHING, DEFAULT, Grant, Quotas, Scope, Tenant, read_key

FRESH: Final = timedelta(seconds=3)
"""How long a cached key is used. A revoked key is accepted for at most this long."""
UNKNOWN_KEYS_RATE: Final = 50.0
"""Lookups of uncached keys per second, so that guessing keys does not occupy the store's threads."""
MAX_CACHED: Final = 10_000
"""Maximum number of cached keys."""

TOKEN: Final = "jwt:"  # noqa: S105 - a prefix, not a secret
"""Prefix of a token's subject in the caller's key."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """The caller of a request. It can read and change only what belongs to its tenant."""

    tenant: str
    scopes: frozenset[Scope]
    key: str | None = None
    """The public part of the key, or `jwt:` and the token's subject. None if authentication is off."""
    quotas: Quotas = field(default_factory=Quotas)
    quality_policy: Mapping[str, Any] = field(default_factory=dict)
    """Default quality policy of the tenant's registrations."""
    since: float | None = None
    """When the tenant was created. None if authentication is off."""

    @property
    def grant(self) -> Grant:
        """The conditions that the store checks again when it accepts the caller's job."""
        key = None if self.key is None or self.key.startswith(TOKEN) else self.key
        return Grant(jobs=self.quotas.jobs, key=key, since=self.since)

    def require(self, scopes: Iterable[str]) -> None:
        """Check that the caller has all of these scopes.

        Raises:
            RequestError: `forbidden`.
        """
        missing = sorted(set(scopes) - self.scopes)
        if missing:
            raise RequestError(ErrorCode.FORBIDDEN, f"This request requires the scope {missing[0]}.")


ANYONE: Final = Caller(tenant=DEFAULT, scopes=frozenset(Scope))
"""The caller of every request if authentication is off: the default tenant, with every scope."""


class Authenticator:
    """Authenticates callers. Runs on the event loop; only the store is read in threads."""

    def __init__(
        self,
        settings: AuthSettings,
        *,
        keys: ApiKeys,
        tenants: Tenants,
        tokens: Tokens | None = None,
        clock: Callable[[], float] = time.time,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._tokens = tokens
        self._clock = clock
        self._buckets = Buckets(now=now)
        self._keys = _Cache(keys.find, now=now, buckets=self._buckets)
        self._tenants = _Cache(tenants.read, now=now, buckets=self._buckets)

    async def admit(self, headers: Headers) -> tuple[Caller, Decision | None]:
        """Return the caller of a request and its rate-limit decision, which is None if authentication is off.

        Raises:
            RequestError: `unauthenticated`, or `forbidden` if the tenant is disabled.
            UnavailableError: `rate_limited`, `store_unavailable`, or `auth_unavailable`.
        """
        if self._settings.auth == "off":
            return ANYONE, None
        caller, tenant = await self._identify(_credentials(headers))
        _check_enabled(tenant)
        return caller, self._count(caller)

    async def behind_client(self, tenant_id: str) -> Grant:
        """Return the grant of a client that presents a client token of this tenant instead of a key.

        Raises:
            RequestError: `forbidden` if the tenant is disabled.
            UnavailableError: `store_unavailable`.
        """
        if self._settings.auth == "off":
            return ANYTHING
        tenant = await self._tenants.get(tenant_id)
        if tenant is None:
            return ANYTHING  # the tenant has been erased; reading its session will fail
        _check_enabled(tenant)
        return Grant(jobs=tenant.quotas.jobs, since=tenant.created_at)

    async def _identify(self, credentials: str) -> tuple[Caller, Tenant]:
        parts = read_key(credentials)
        if parts is not None and "keys" in self._settings.auth:
            public, secret = parts
            record = await self._keys.get(public)
            if record is None or not record[0].valid(secret, now=self._clock()):
                raise invalid_credentials()
            key, tenant = record
            return _caller(tenant, key.scopes, key.id), tenant
        if parts is None and self._tokens is not None:
            claims = await self._tokens.check(credentials)
            token_tenant = await self._tenants.get(claims.tenant)
            if token_tenant is None:
                raise RequestError(ErrorCode.FORBIDDEN, "The tenant named in the token does not exist.")
            return _caller(token_tenant, claims.scopes, f"{TOKEN}{claims.subject}"), token_tenant
        raise invalid_credentials()

    def _count(self, caller: Caller) -> Decision:
        settings, quotas = self._settings, caller.quotas
        if settings.rate_total:
            total = self._buckets.take("", rate=settings.rate_total, burst=max(1, round(settings.rate_total)))
            if not total.allowed:
                detail = "The gateway has reached its total request rate."
                raise RateLimitedError(detail, total)
        burst = max(1, (quotas.burst or settings.rate_burst) // settings.gateways)
        rate = (quotas.rate or settings.rate_limit) / settings.gateways
        decision = self._buckets.take(f"{caller.tenant} {caller.key}", rate=rate, burst=burst)
        if not decision.allowed:
            detail = f"This key is limited to {rate:g} requests per second, with bursts of up to {burst}."
            raise RateLimitedError(detail, decision)
        return decision


def open_authenticator(settings: AuthSettings, *, keys: ApiKeys, tenants: Tenants) -> Authenticator:
    """Return the authenticator of a gateway."""
    tokens = Tokens(settings, read=reader(settings.jwt_jwks)) if "jwt" in settings.auth else None
    return Authenticator(settings, keys=keys, tenants=tenants, tokens=tokens)


class RateLimitedError(UnavailableError):
    """A caller exceeded its rate limit. Carries the decision for the response headers."""

    def __init__(self, detail: str, decision: Decision) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, detail, retry_after=decision.retry_after)
        self.decision = decision


def _check_enabled(tenant: Tenant) -> None:
    if tenant.disabled:
        raise RequestError(ErrorCode.FORBIDDEN, "The tenant is disabled.")


def _caller(tenant: Tenant, scopes: frozenset[Scope], key: str) -> Caller:
    return Caller(
        tenant.id,
        scopes,
        key,
        quotas=tenant.quotas,
        quality_policy=tenant.quality_policy,
        since=tenant.created_at,
    )


def _credentials(headers: Headers) -> str:
    """Return the key or token of a request, from `Authorization: Bearer` or `X-API-Key`.

    Raises:
        RequestError: `unauthenticated`.
    """
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    api_key = headers.get("x-api-key", "")
    if api_key:
        return api_key
    raise RequestError(
        ErrorCode.UNAUTHENTICATED, "Authentication is required. Send `Authorization: Bearer` with an API key or token."
    )


class _Cache(Generic[T]):
    """Caches records for at most `FRESH`. Runs on the event loop.

    A record in use is refreshed in the background at half that age, and concurrent reads of a record are merged. Names
    without a record are cached separately, so that guessing does not evict records.
    """

    def __init__(self, read: Callable[[str], T | None], *, now: Callable[[], float], buckets: Buckets) -> None:
        self._read = read
        self._now = now
        self._buckets = buckets
        self._known: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._reads: dict[str, asyncio.Task[T | None]] = {}

    async def get(self, name: str) -> T | None:
        """Return the record, or None if it does not exist.

        Raises:
            UnavailableError: `store_unavailable`, or `rate_limited` if too many uncached names are looked up.
        """
        now, fresh = self._now(), FRESH.total_seconds()
        if name in self._known:
            read_at, record = self._known[name]
            self._known.move_to_end(name)
            if now - read_at >= fresh / 2:
                refresh = self._reading(name)
                if now - read_at >= fresh:
                    return await asyncio.shield(refresh)
            return record
        if now - self._absent.get(name, -math.inf) < fresh:
            return None
        if name not in self._reads:
            decision = self._buckets.take(" unknown keys", rate=UNKNOWN_KEYS_RATE, burst=round(UNKNOWN_KEYS_RATE))
            if not decision.allowed:
                detail = "Too many requests with unknown API keys. Try again in a moment."
                raise RateLimitedError(detail, decision)
        return await asyncio.shield(self._reading(name))

    def _reading(self, name: str) -> asyncio.Task[T | None]:
        """Return the read of this record in progress, or start one."""
        if name not in self._reads:
            task = self._reads[name] = asyncio.create_task(self._refresh(name))
            task.add_done_callback(lambda done: self._on_done(name, done))
        return self._reads[name]

    def _on_done(self, name: str, task: asyncio.Task[T | None]) -> None:
        del self._reads[name]
        if not task.cancelled():
            task.exception()  # marks it as retrieved: a background refresh may fail silently

    async def _refresh(self, name: str) -> T | None:
        now = self._now()  # before the read, which may miss later changes
        record = await to_thread.run_sync(self._read, name)
        self._known.pop(name, None)
        self._absent.pop(name, None)
        if record is None:
            self._absent[name] = now
        else:
            self._known[name] = (now, record)
        for entries in (self._known, self._absent):
            while len(entries) > MAX_CACHED:
                entries.popitem(last=False)
        return record

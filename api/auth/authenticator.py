"""Who calls: the tenant, the key and the scopes that stand behind a request, and whether it may ask just now."""

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
from api.auth.jwt import Tokens, refused
from api.auth.rate_limits import Buckets, Taken
from api.settings.auth import AuthSettings
from shared.errors import ErrorCode, RequestError, UnavailableError
from shared.ledger.tenants.api_keys import ApiKeys
from shared.ledger.tenants.store import Tenants
from shared.tenants import ANYTHING, DEFAULT, Grant, Quotas, Scope, Tenant, read_key

FRESH: Final = timedelta(seconds=3)
"""How long a key that was read is taken as it was: a revoked one is let in no longer than this."""
STRANGERS: Final = 50.0
"""Keys that no gateway has seen lately and that are looked up each second: guessing keeps no thread from the store."""
MOST: Final = 10_000
"""Keys remembered."""

TOKEN: Final = "jwt:"  # noqa: S105 - a prefix, no secret
"""Before the subject of a token, where a caller is named."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls. Whatever is read or changed for a caller is its tenant's; what is another's is not there."""

    tenant: str
    scopes: frozenset[Scope]
    key: str | None = None
    """The public part of the key that was shown, or `jwt:` and a token's subject; None where nobody authenticates."""
    quotas: Quotas = field(default_factory=Quotas)
    quality_policy: Mapping[str, Any] = field(default_factory=dict)
    """What the tenant's registrations ask for where they do not say it themselves."""
    since: float | None = None
    """When the tenant was created; None where nobody authenticates."""

    @property
    def grant(self) -> Grant:
        """What the step that accepts this caller's work checks again."""
        key = None if self.key is None or self.key.startswith(TOKEN) else self.key
        return Grant(jobs=self.quotas.jobs, key=key, since=self.since)

    def require(self, scopes: Iterable[str]) -> None:
        """Return where the caller has all of these scopes.

        Raises:
            RequestError: `forbidden`.
        """
        missing = sorted(set(scopes) - self.scopes)
        if missing:
            raise RequestError(ErrorCode.FORBIDDEN, f"This call requires the scope {missing[0]}.")


ANYONE: Final = Caller(tenant=DEFAULT, scopes=frozenset(Scope))
"""Who calls where authentication is off: everybody, as the one tenant, with every scope."""


class Authenticator:
    """Lets callers in. Lives on the event loop; only the store is read in threads."""

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
        self._keys = _Recent(keys.find, now=now, buckets=self._buckets)
        self._tenants = _Recent(tenants.read, now=now, buckets=self._buckets)

    async def admit(self, headers: Headers) -> tuple[Caller, Taken | None]:
        """The caller of a request with these headers, and how much it may still ask; None where nothing is counted.

        Raises:
            RequestError: `unauthenticated`, or `forbidden` where its tenant is disabled.
            UnavailableError: `rate_limited`, `store_unavailable` or `auth_unavailable`.
        """
        if self._settings.auth == "off":
            return ANYONE, None
        caller, tenant = await self._identify(_shown(headers))
        _let_in(tenant)
        return caller, self._count(caller)

    async def behind_client(self, tenant_id: str) -> Grant:
        """What a client is granted that shows a client token of this tenant instead of a key.

        Raises:
            RequestError: `forbidden` where the tenant is disabled.
            UnavailableError: `store_unavailable`.
        """
        if self._settings.auth == "off":
            return ANYTHING
        tenant = await self._tenants.get(tenant_id)
        if tenant is None:
            return ANYTHING  # erased since: what asks for its session finds that out
        return Grant(jobs=_let_in(tenant).quotas.jobs, since=tenant.created_at)

    async def _identify(self, shown: str) -> tuple[Caller, Tenant]:
        parts = read_key(shown)
        if parts is not None and "keys" in self._settings.auth:
            found = await self._keys.get(parts[0])
            if found is None or not found[0].valid(parts[1], now=self._clock()):
                raise refused()
            key, tenant = found
            return _caller(tenant, key.scopes, key.id), tenant
        if parts is None and self._tokens is not None:
            claims = await self._tokens.check(shown)
            known = await self._tenants.get(claims.tenant)
            if known is None:
                raise RequestError(ErrorCode.FORBIDDEN, "The tenant named in the token does not exist.")
            return _caller(known, claims.scopes, f"{TOKEN}{claims.subject}"), known
        raise refused()

    def _count(self, caller: Caller) -> Taken:
        settings, quotas = self._settings, caller.quotas
        if settings.rate_total:
            whole = self._buckets.take("", rate=settings.rate_total, burst=max(1, round(settings.rate_total)))
            if not whole.allowed:
                detail = "The gateway has reached its total request rate."
                raise RateLimitedError(detail, whole)
        burst = max(1, (quotas.burst or settings.rate_burst) // settings.gateways)
        rate = (quotas.rate or settings.rate_limit) / settings.gateways
        taken = self._buckets.take(f"{caller.tenant} {caller.key}", rate=rate, burst=burst)
        if not taken.allowed:
            detail = f"This key may make {rate:g} requests per second, and {burst} at once."
            raise RateLimitedError(detail, taken)
        return taken


def open_authenticator(settings: AuthSettings, *, keys: ApiKeys, tenants: Tenants) -> Authenticator:
    """The gate of one gateway."""
    tokens = Tokens(settings, read=reader(settings.jwt_jwks)) if "jwt" in settings.auth else None
    return Authenticator(settings, keys=keys, tenants=tenants, tokens=tokens)


class RateLimitedError(UnavailableError):
    """A caller asks too fast; it knows what to tell it."""

    def __init__(self, detail: str, taken: Taken) -> None:
        super().__init__(ErrorCode.RATE_LIMITED, detail, retry_after=taken.retry_after)
        self.taken = taken


def _let_in(tenant: Tenant) -> Tenant:
    if tenant.disabled:
        raise RequestError(ErrorCode.FORBIDDEN, "The tenant is disabled.")
    return tenant


def _caller(tenant: Tenant, scopes: frozenset[Scope], key: str) -> Caller:
    return Caller(
        tenant.id,
        scopes,
        key,
        quotas=tenant.quotas,
        quality_policy=tenant.quality_policy,
        since=tenant.created_at,
    )


def _shown(headers: Headers) -> str:
    """The key or token of a request: a bearer's, or `X-API-Key`.

    Raises:
        RequestError: `unauthenticated`.
    """
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return token.strip()
    shown = headers.get("x-api-key", "")
    if shown:
        return shown
    raise RequestError(
        ErrorCode.UNAUTHENTICATED, "Authentication is required. Send `Authorization: Bearer` with an API key or token."
    )


class _Recent(Generic[T]):
    """Records as they were at most `FRESH` ago. Lives on the event loop.

    A record in use is read again at half that age, once for all who ask, while they are answered from what is known.
    Names without a record are remembered apart, so that guessing pushes no record out.
    """

    def __init__(self, read: Callable[[str], T | None], *, now: Callable[[], float], buckets: Buckets) -> None:
        self._read = read
        self._now = now
        self._buckets = buckets
        self._known: OrderedDict[str, tuple[float, T]] = OrderedDict()
        self._absent: OrderedDict[str, float] = OrderedDict()
        self._reads: dict[str, asyncio.Task[T | None]] = {}

    async def get(self, name: str) -> T | None:
        """The record, or None where there is none.

        Raises:
            UnavailableError: `store_unavailable`; `rate_limited` where too many unknown ones are asked for.
        """
        now, fresh = self._now(), FRESH.total_seconds()
        if name in self._known:
            read_at, record = self._known[name]
            self._known.move_to_end(name)
            if now - read_at >= fresh / 2:
                renewal = self._reading(name)
                if now - read_at >= fresh:
                    return await asyncio.shield(renewal)
            return record
        if now - self._absent.get(name, -math.inf) < fresh:
            return None
        if name not in self._reads:
            taken = self._buckets.take(" strangers", rate=STRANGERS, burst=round(STRANGERS))
            if not taken.allowed:
                detail = "Too many requests with unknown API keys. Try again in a moment."
                raise RateLimitedError(detail, taken)
        return await asyncio.shield(self._reading(name))

    def _reading(self, name: str) -> asyncio.Task[T | None]:
        """The read of this record that is under way, begun now where there is none."""
        if name not in self._reads:
            task = self._reads[name] = asyncio.create_task(self._renew(name))
            task.add_done_callback(lambda done: self._ended(name, done))
        return self._reads[name]

    def _ended(self, name: str, task: asyncio.Task[T | None]) -> None:
        del self._reads[name]
        if not task.cancelled():
            task.exception()  # whoever waits for the read gets it; a renewal that nobody waits for may fail silently

    async def _renew(self, name: str) -> T | None:
        now = self._now()  # of the start: what changes during the read may be missed by it
        record = await to_thread.run_sync(self._read, name)
        self._known.pop(name, None)
        self._absent.pop(name, None)
        if record is None:
            self._absent[name] = now
        else:
            self._known[name] = (now, record)
        for kept in (self._known, self._absent):
            while len(kept) > MOST:
                kept.popitem(last=False)
        return record

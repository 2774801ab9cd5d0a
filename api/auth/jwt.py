"""Verify tokens of an issuer (JWT, RFC 7519): signature, issuer, audience, and expiry."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import jwt
import structlog
from pydantic_core import from_json

from api.settings.auth import AuthSettings
from shared.errors import ErrorCode, FetchError, RequestError, UnavailableError, VultusError
from shared.tenants import Scope, is_tenant_id

FLOOR: Final = timedelta(seconds=30)
"""Minimum time between two reads of the issuer's keys, so that unknown key ids cause no traffic."""
GOOD_FOR: Final = timedelta(hours=1)
"""Maximum age of the issuer's keys. Withdrawn keys are dropped at the next read."""
_SUBJECT: Final = re.compile(r"[\x21-\x7e]{1,128}")

log = structlog.get_logger(__name__)

ReadKeys = Callable[[], Awaitable[bytes]]
"""Returns the issuer's current JWKS. Raises VultusError or OSError."""


@dataclass(frozen=True, slots=True)
class Claims:
    """The claims of a verified token."""

    tenant: str
    subject: str
    scopes: frozenset[Scope]


class Tokens:
    """Verifies tokens of one issuer. Runs on the event loop."""

    def __init__(self, settings: AuthSettings, *, read: ReadKeys, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._read = read
        self._now = now
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def check(self, token: str) -> Claims:
        """Verify a token and return its claims.

        Raises:
            RequestError: `unauthenticated`, whatever is wrong with the token.
            UnavailableError: `auth_unavailable`: the issuer's keys cannot be read.
        """
        try:
            key = await self._key(jwt.get_unverified_header(token))
            payload = jwt.decode(
                token,
                key.key,
                algorithms=list(self._settings.jwt_algorithms),
                issuer=self._settings.jwt_issuer,
                audience=self._settings.jwt_audience,
                leeway=self._settings.jwt_leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):  # the last two are raised only for malicious headers
            raise invalid_credentials() from None
        return self._claims(payload)

    async def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        if header.get("alg") not in self._settings.jwt_algorithms:
            raise invalid_credentials()
        key_id = header.get("kid")
        if key_id is not None and not isinstance(key_id, str):
            raise invalid_credentials()
        if self._is_stale(key_id):
            async with self._reading:
                if self._is_stale(key_id):
                    await self._refresh()
        key = self._keys.get(key_id)
        if key is None and key_id is None and len(self._keys) == 1:
            (key,) = self._keys.values()
        if key is None:
            raise invalid_credentials()
        return key

    def _is_stale(self, key_id: str | None) -> bool:
        if self._read_at is None:
            return True
        age = self._now() - self._read_at
        unknown = key_id is not None and key_id not in self._keys
        return age > GOOD_FOR.total_seconds() or ((unknown or not self._keys) and age > FLOOR.total_seconds())

    async def _refresh(self) -> None:
        try:
            self._keys = read_jwks(await self._read())
        except (VultusError, OSError, ValueError, jwt.PyJWTError) as error:
            log.warning(
                "auth.jwks_unread", detail=error.detail if isinstance(error, FetchError) else type(error).__name__
            )
        self._read_at = self._now()
        if not self._keys:
            detail = "The token issuer's public keys are temporarily unavailable."
            raise UnavailableError(ErrorCode.AUTH_UNAVAILABLE, detail, retry_after=FLOOR)

    def _claims(self, payload: Mapping[str, Any]) -> Claims:
        tenant, subject = payload.get(self._settings.jwt_tenant_claim), payload["sub"]
        scope = payload.get(self._settings.jwt_scope_claim, "")
        names = scope.split() if isinstance(scope, str) else scope if isinstance(scope, list) else []
        if not isinstance(tenant, str) or not is_tenant_id(tenant) or not _SUBJECT.fullmatch(subject):
            raise invalid_credentials()
        known = frozenset(Scope)
        return Claims(
            tenant, subject, frozenset(Scope(name) for name in names if isinstance(name, str) and name in known)
        )


def read_jwks(raw: bytes) -> dict[str | None, jwt.PyJWK]:
    """Return the asymmetric signature keys of a JWKS (RFC 7517) by key id.

    Raises:
        ValueError: not JSON, or not a JWKS.
    """
    document = from_json(raw)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        msg = "not a JWKS"
        raise ValueError(msg)  # noqa: TRY004 - the content is invalid, not the argument's type
    keys: dict[str | None, jwt.PyJWK] = {}
    for entry in entries:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig":
            continue
        if entry.get("kty") not in {"RSA", "EC", "OKP"}:
            continue
        try:
            key = jwt.PyJWK(entry)
        except jwt.PyJWTError:  # a kind that PyJWT does not support; the other keys are still usable
            continue
        keys[key.key_id] = key
    return keys


def invalid_credentials() -> RequestError:
    """Return the error for invalid credentials. It does not reveal what is wrong with them."""
    return RequestError(ErrorCode.UNAUTHENTICATED, "The credentials are invalid, expired, or revoked.")

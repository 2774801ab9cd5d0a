"""Tokens of an issuer (JWT, RFC 7519): whose they are, once signature, issuer, audience and time have been checked."""

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
"""At least this long between two readings of the issuer's keys, whatever tokens name: strangers cause no traffic."""
GOOD_FOR: Final = timedelta(hours=1)
"""Keys that were read are read again after this long: those that were withdrawn are forgotten."""
_SUBJECT: Final = re.compile(r"[\x21-\x7e]{1,128}")

log = structlog.get_logger(__name__)

ReadKeys = Callable[[], Awaitable[bytes]]
"""The issuer's JWKS as it is now. Raises VultusError or OSError."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says that was checked."""

    tenant: str
    subject: str
    scopes: frozenset[Scope]


class Tokens:
    """Checks tokens of one issuer. Lives on the event loop."""

    def __init__(self, settings: AuthSettings, *, read: ReadKeys, now: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._read = read
        self._now = now
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def check(self, token: str) -> Claims:
        """What the token says.

        Raises:
            RequestError: `unauthenticated`, whatever is wrong with it.
            UnavailableError: `auth_unavailable`: the issuer's keys cannot be had.
        """
        try:
            key = await self._key(jwt.get_unverified_header(token))
            found = jwt.decode(
                token,
                key.key,
                algorithms=list(self._settings.jwt_algorithms),
                issuer=self._settings.jwt_issuer,
                audience=self._settings.jwt_audience,
                leeway=self._settings.jwt_leeway,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.PyJWTError, ValueError, TypeError):  # the last two: what only a hostile header brings about
            raise refused() from None
        return self._claims(found)

    async def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        if header.get("alg") not in self._settings.jwt_algorithms:
            raise refused()
        name = header.get("kid")
        if name is not None and not isinstance(name, str):
            raise refused()
        if self._due(name):
            async with self._reading:
                if self._due(name):
                    await self._renew()
        known = self._keys.get(name)
        if known is None and name is None and len(self._keys) == 1:
            (known,) = self._keys.values()
        if known is None:
            raise refused()
        return known

    def _due(self, name: str | None) -> bool:
        if self._read_at is None:
            return True
        age = self._now() - self._read_at
        unknown = name is not None and name not in self._keys
        return age > GOOD_FOR.total_seconds() or ((unknown or not self._keys) and age > FLOOR.total_seconds())

    async def _renew(self) -> None:
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

    def _claims(self, found: Mapping[str, Any]) -> Claims:
        tenant, subject = found.get(self._settings.jwt_tenant_claim), found["sub"]
        said = found.get(self._settings.jwt_scope_claim, "")
        named = said.split() if isinstance(said, str) else said if isinstance(said, list) else []
        if not isinstance(tenant, str) or not is_tenant_id(tenant) or not _SUBJECT.fullmatch(subject):
            raise refused()
        known = frozenset(Scope)
        return Claims(
            tenant, subject, frozenset(Scope(name) for name in named if isinstance(name, str) and name in known)
        )


def read_jwks(raw: bytes) -> dict[str | None, jwt.PyJWK]:
    """The keys of a JWKS (RFC 7517) by their names, those for encryption and of symmetric kinds left out.

    Raises:
        ValueError: it is no JSON, or no JWKS.
    """
    found = from_json(raw)
    listed = found.get("keys") if isinstance(found, dict) else None
    if not isinstance(listed, list):
        msg = "no JWKS"
        raise ValueError(msg)  # noqa: TRY004 - what was read is wrong, not what was asked
    keys: dict[str | None, jwt.PyJWK] = {}
    for one in listed:
        if not isinstance(one, dict) or one.get("use", "sig") != "sig" or one.get("kty") not in {"RSA", "EC", "OKP"}:
            continue
        try:
            key = jwt.PyJWK(one)
        except jwt.PyJWTError:  # of a kind that this version does not know; the others are good all the same
            continue
        keys[key.key_id] = key
    return keys


def refused() -> RequestError:
    """What is said of credentials that do not hold, whatever is wrong with them."""
    return RequestError(ErrorCode.UNAUTHENTICATED, "The credentials are invalid, expired, or revoked.")

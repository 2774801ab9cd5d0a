"""Settings about who may call, and how often."""

from datetime import timedelta
from ipaddress import ip_address
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic_settings import NoDecode

from shared.errors import SettingsError
from shared.net.urls import UrlError, read_url
from shared.settings import Seconds, SecondsOrNever, SharedSettings, from_text, listed
from shared.tenants import MIN_RATE

ALGORITHMS: Final = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
)
"""Signatures whose checking needs no secret: a token can never be signed with what checks it."""


def _algorithms(text: str) -> tuple[str, ...]:
    """Read `RS256, ES256`."""
    named = listed(text)
    wrong = sorted(set(named) - ALGORITHMS)
    if wrong or not named:
        msg = f"some of {', '.join(sorted(ALGORITHMS))}"
        raise ValueError(msg)
    return named


class AuthSettings(SharedSettings):
    """Who is let in, and how much each may ask."""

    auth: Literal["off", "keys", "jwt", "keys+jwt"] = Field(
        default="off",
        description="Who may call: `keys` = whoever shows an API key, `jwt` = whoever shows a token of the issuer, "
        "`off` = everybody who reaches the port, which is taken on the loopback address alone.",
    )
    auth_open: bool = Field(
        default=False,
        description="Start without authentication on another address than the loopback too: whoever reaches the port "
        "may then do everything.",
    )
    jwt_issuer: str = Field(default="", description="The `iss` that tokens must have; needed for `jwt`.")
    jwt_audience: str = Field(default="", description="The `aud` that tokens must name; needed for `jwt`.")
    jwt_jwks: str = Field(
        default="",
        description="The issuer's public keys: an `https://` address, or the path of a JWKS file; needed for `jwt`.",
    )
    jwt_algorithms: Annotated[tuple[str, ...], NoDecode, from_text(_algorithms)] = Field(
        default=("RS256", "ES256", "EdDSA"), description="Signatures that are taken, commas between them."
    )
    jwt_leeway: SecondsOrNever = Field(
        default=timedelta(seconds=30), description="How far the issuer's clock may be off, in seconds."
    )
    jwt_tenant_claim: str = Field(default="tenant", min_length=1, description="The claim that names the tenant.")
    jwt_scope_claim: str = Field(
        default="scope", min_length=1, description="The claim with the scopes, as a text with spaces or a list."
    )
    rate_limit: float = Field(
        default=100.0,
        ge=MIN_RATE,
        le=1e6,
        description="Requests per second of one key, over time; a tenant may have its own.",
    )
    rate_burst: int = Field(default=200, ge=1, le=1_000_000, description="Requests of one key at once.")
    rate_total: Literal[0] | Annotated[float, Field(ge=MIN_RATE, le=1e6)] = Field(
        default=0, description="Requests per second of all keys of one gateway together; 0 = no limit."
    )
    gateways: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="How many gateways share the keys' rates: each grants its part, since each counts for itself.",
    )
    audit_ttl: Seconds = Field(
        default=timedelta(days=90), description="How long the audit log keeps an entry, in seconds."
    )


def check_auth(settings: AuthSettings, *, host: str) -> None:
    """Return where a gateway that listens on this host may start so.

    Raises:
        SettingsError: it would be open to others, or tokens could not be checked.
    """
    if settings.auth == "off" and not settings.auth_open and not _is_loopback(host):
        msg = (
            f"VULTUS_AUTH is off and VULTUS_HOST is {host}: whoever reaches the port could do everything. "
            "Set VULTUS_AUTH=keys, listen on 127.0.0.1, or, to be open all the same, set VULTUS_AUTH_OPEN=true"
        )
        raise SettingsError(msg)
    missing = [
        f"VULTUS_{name.upper()}" for name in ("jwt_issuer", "jwt_audience", "jwt_jwks") if not getattr(settings, name)
    ]
    if "jwt" in settings.auth and missing:
        msg = f"VULTUS_AUTH={settings.auth} needs {', '.join(missing)}"
        raise SettingsError(msg)
    if "://" in settings.jwt_jwks:
        try:
            scheme = read_url(settings.jwt_jwks).scheme
        except UrlError as error:
            msg = f"VULTUS_JWT_JWKS is wrong: the address {error}"
            raise SettingsError(msg) from None
        if scheme != "https":
            msg = "VULTUS_JWT_JWKS is wrong: an address must begin with https://"
            raise SettingsError(msg)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

"""Settings for authentication and rate limits."""

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
"""Asymmetric signature algorithms: the key that verifies a token cannot sign one."""


def _algorithms(text: str) -> tuple[str, ...]:
    """Read `RS256, ES256`."""
    names = listed(text)
    if not names or not set(names) <= ALGORITHMS:
        msg = f"one or more of {', '.join(sorted(ALGORITHMS))}"
        raise ValueError(msg)
    return names


class AuthSettings(SharedSettings):
    """How callers authenticate, and how many requests each may make."""

    auth: Literal["off", "keys", "jwt", "keys+jwt"] = Field(
        default="off",
        description="How callers authenticate: `keys` = with an API key, `jwt` = with a token from the issuer, "
        "`keys+jwt` = with either, `off` = not at all, which is allowed on the loopback address only.",
    )
    auth_open: bool = Field(
        default=False,
        description="Allow `VULTUS_AUTH=off` on other addresses too. Anyone who can reach the port then has full "
        "access.",
    )
    jwt_issuer: str = Field(default="", description="Required `iss` claim of tokens; needed for `jwt`.")
    jwt_audience: str = Field(default="", description="Required `aud` claim of tokens; needed for `jwt`.")
    jwt_jwks: str = Field(
        default="",
        description="The issuer's public keys: an `https://` URL, or the path of a JWKS file; needed for `jwt`.",
    )
    jwt_algorithms: Annotated[tuple[str, ...], NoDecode, from_text(_algorithms)] = Field(
        default=("RS256", "ES256", "EdDSA"), description="Accepted signature algorithms, separated by commas."
    )
    jwt_leeway: SecondsOrNever = Field(
        default=timedelta(seconds=30), description="Tolerated clock difference to the issuer, in seconds."
    )
    jwt_tenant_claim: str = Field(default="tenant", min_length=1, description="Claim that names the tenant.")
    jwt_scope_claim: str = Field(
        default="scope", min_length=1, description="Claim with the scopes: a space-separated string, or a list."
    )
    rate_limit: float = Field(
        default=100.0,
        ge=MIN_RATE,
        le=1e6,
        description="Sustained requests per second of one key. A tenant may have its own rate.",
    )
    rate_burst: int = Field(default=200, ge=1, le=1_000_000, description="Requests of one key in a burst.")
    rate_total: Literal[0] | Annotated[float, Field(ge=MIN_RATE, le=1e6)] = Field(
        default=0, description="Requests per second of one gateway, all keys together; 0 = no limit."
    )
    gateways: int = Field(
        default=1,
        ge=1,
        le=1000,
        description="Number of gateways that share the rates. Each gateway counts on its own and grants its share.",
    )
    audit_ttl: Seconds = Field(
        default=timedelta(days=90), description="How long the audit log keeps an entry, in seconds."
    )


def check_auth(settings: AuthSettings, *, host: str) -> None:
    """Check that a gateway listening on this host may start with these settings.

    Raises:
        SettingsError: the gateway would be open to others, or could not verify tokens.
    """
    if settings.auth == "off" and not settings.auth_open and not _is_loopback(host):
        msg = (
            f"VULTUS_AUTH is off and VULTUS_HOST is {host}: anyone who can reach the port would have full access. "
            "Set VULTUS_AUTH=keys, listen on 127.0.0.1, or set VULTUS_AUTH_OPEN=true to start without authentication"
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
            msg = f"VULTUS_JWT_JWKS is wrong: the URL {error}"
            raise SettingsError(msg) from None
        if scheme != "https":
            msg = "VULTUS_JWT_JWKS is wrong: a URL must begin with https://"
            raise SettingsError(msg)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

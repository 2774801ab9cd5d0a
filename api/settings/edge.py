"""Settings of the gateway's edge: connections, uploads, host names, browsers, and proxies."""

import ipaddress
import re
from datetime import timedelta
from typing import Annotated, Final

from pydantic import Field
from pydantic_settings import NoDecode

from shared.settings import Seconds, SecondsOrNever, SharedSettings, from_text, listed

_HOST: Final = re.compile(r"(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*|\[[0-9a-f:.]+\]")
_ORIGIN: Final = re.compile(
    r"(?P<scheme>[a-z][a-z0-9+.-]*)://([a-z0-9_-]+(\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(:(?P<port>[1-9]\d{0,4}))?"
)
NO_ORIGINS: Final = frozenset({"file", "data", "blob", "javascript", "about"})
"""Schemes whose pages have no origin to list: browsers send `null` for them."""
DEFAULT_PORTS: Final = frozenset({("https", "443"), ("http", "80")})
"""Ports that browsers omit from an origin."""


def _hosts(text: str) -> tuple[str, ...]:
    """Read `faces.example.org, *.example.org`."""
    names = listed(text.lower())
    if not all(_HOST.fullmatch(name) for name in names):
        msg = "host names without ports, such as faces.example.org, *.example.org"
        raise ValueError(msg)
    return names


def _origins(text: str) -> tuple[str, ...]:
    """Read `https://app.example.org, capacitor://localhost`: scheme, host and port, as browsers write them."""
    names = listed(text)
    for name in names:
        origin = _ORIGIN.fullmatch(name)
        if not origin or origin["scheme"] in NO_ORIGINS or (origin["scheme"], origin["port"]) in DEFAULT_PORTS:
            msg = (
                "complete origins as browsers send them, in lower case, without a path or a default port, such as "
                "https://app.example.org, capacitor://localhost; wildcards are not supported"
            )
            raise ValueError(msg)
    return names


def _proxies(text: str) -> tuple[str, ...]:
    """Read `10.0.0.7, 172.18.0.0/16`."""
    names = listed(text)
    for name in names:
        try:
            ipaddress.ip_network(name)
        except ValueError:
            msg = "addresses or networks, such as 172.18.0.0/16"
            raise ValueError(msg) from None
    return names


class EdgeSettings(SharedSettings):
    """Settings of the gateway's edge."""

    header_timeout: Seconds = Field(
        default=timedelta(seconds=10),
        description="How long the request line and headers may take to arrive, in seconds.",
    )
    keep_alive: Seconds = Field(
        default=timedelta(seconds=75),
        description="How long an idle connection is kept open between requests, in seconds. Set it longer than the "
        "idle timeout of the proxy or connection pool in front (60 s in nginx and most cloud load balancers); "
        "otherwise a request may hit a connection that is being closed.",
    )
    upload_grace: Seconds = Field(
        default=timedelta(seconds=20),
        description="How long the gateway waits for a body of any size, in seconds. After that, the body must keep up "
        "`VULTUS_UPLOAD_MIN_RATE`.",
    )
    upload_min_rate: int = Field(
        default=8192,
        ge=1,
        description="Minimum average rate of a body after `VULTUS_UPLOAD_GRACE`, in bytes per second.",
    )
    upload_budget_bytes: int = Field(
        default=512 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes of all request bodies in memory together; a body counts until its request is answered. "
        "Further bodies get 503, but a body on its own is always accepted.",
    )
    max_connections: int = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="Maximum number of open connections, including clients that wait for a job. Further requests "
        "except probes get 503. The process must be allowed that many open files.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, from_text(_hosts)] = Field(
        default=(),
        description="Accepted values of the `Host` header, such as `faces.example.org, *.example.org`; any other gets "
        "421. Empty = any. Probes are answered for every host.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, from_text(_origins)] = Field(
        default=(),
        description="Origins of the web pages and apps that may call from a browser engine "
        "(`https://app.example.org`, `capacitor://localhost`, `tauri://localhost`, `chrome-extension://...`). "
        "Empty = none.",
    )
    hsts_max_age: SecondsOrNever = Field(
        default=timedelta(0),
        description="`max-age` of the `Strict-Transport-Security` header on HTTPS responses, in seconds; 0 = not sent. "
        "Set it only if the host will never again be served without TLS.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, from_text(_proxies)] = Field(
        default=(),
        description="Addresses or networks of the proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are trusted. "
        "Empty = none.",
    )

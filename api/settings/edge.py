"""What the gateway's edge can be told: who may call from where, how fast, how much at once."""

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
"""Schemes whose pages share no origin that could be listed: browsers send `null` for them."""
DEFAULT_PORTS: Final = frozenset({("https", "443"), ("http", "80")})
"""Ports that browsers leave out."""


def _hosts(text: str) -> tuple[str, ...]:
    """Read `faces.example.org, *.example.org`."""
    names = listed(text.lower())
    if not all(_HOST.fullmatch(name) for name in names):
        msg = "names of hosts without ports, such as faces.example.org, *.example.org"
        raise ValueError(msg)
    return names


def _origins(text: str) -> tuple[str, ...]:
    """Read `https://app.example.org, capacitor://localhost`: scheme, host and port, as browsers write them."""
    names = listed(text)
    for name in names:
        origin = _ORIGIN.fullmatch(name)
        if not origin or origin["scheme"] in NO_ORIGINS or (origin["scheme"], origin["port"]) in DEFAULT_PORTS:
            msg = (
                "whole origins as browsers send them, in lower case, without a path or a default port, such as "
                "https://app.example.org, capacitor://localhost; there is no wildcard"
            )
            raise ValueError(msg)
    return names


def _proxies(text: str) -> tuple[str, ...]:
    """Read addresses and networks."""
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
        default=timedelta(seconds=10), description="How long the head of a request may take to come in, in seconds."
    )
    keep_alive: Seconds = Field(
        default=timedelta(seconds=75),
        description="How long an idle connection is kept between two requests, in seconds. Keep it longer than the "
        "idle timeout of the proxy or the connection pool in front (60 s in nginx and in most cloud balancers): else a "
        "request may meet a connection that is just being closed.",
    )
    upload_grace: Seconds = Field(
        default=timedelta(seconds=20),
        description="How long a body may keep the gateway waiting whatever its size, in seconds; beyond that it must "
        "keep `VULTUS_UPLOAD_MIN_RATE`.",
    )
    upload_min_rate: int = Field(
        default=8192, ge=1, description="Bytes a second that a body must bring on average once its grace is used up."
    )
    upload_budget_bytes: int = Field(
        default=512 * 1024 * 1024,
        ge=1024 * 1024,
        description="Bytes of bodies that all requests in hand may have together, until they are answered; beyond, a "
        "body is answered 503. One that is alone always has room.",
    )
    max_connections: int = Field(
        default=2000,
        ge=1,
        le=1_000_000,
        description="Connections at once, clients that wait for a job included; beyond, everything but a probe is "
        "answered 503. The process must be allowed as many open files.",
    )
    allowed_hosts: Annotated[tuple[str, ...], NoDecode, from_text(_hosts)] = Field(
        default=(),
        description="Names that the gateway is called by (`Host`), such as `faces.example.org, *.example.org`; any "
        "other is answered 421. Empty = any. Probes are answered under every name.",
    )
    cors_origins: Annotated[tuple[str, ...], NoDecode, from_text(_origins)] = Field(
        default=(),
        description="Web pages and apps that may call from a browser engine, as whole origins "
        "(`https://app.example.org`, `capacitor://localhost`, `tauri://localhost`, `chrome-extension://...`). "
        "Empty = none.",
    )
    hsts_max_age: SecondsOrNever = Field(
        default=timedelta(0),
        description="`Strict-Transport-Security` on answers over HTTPS, in seconds; 0 = not sent. Set it only where "
        "the host will never again be served without TLS.",
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, from_text(_proxies)] = Field(
        default=(),
        description="Proxies whose `X-Forwarded-For` and `X-Forwarded-Proto` are believed, as addresses or networks. "
        "Empty = nobody's.",
    )

"""Reads `VULTUS_LEDGER_URL`: one server, a cluster, or a service that sentinels watch."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pydantic import SecretStr
from redis.connection import parse_url

from shared.errors import SettingsError

LAST_PORT: Final = 65535
TLS: Final = frozenset(
    {"ssl_ca_certs", "ssl_ca_path", "ssl_certfile", "ssl_cert_reqs", "ssl_check_hostname", "ssl_keyfile"}
)
ESCAPED: Final = "special characters of a password are written as %40 and so on"
NO_SCHEME: Final = (
    "it must begin with redis://, rediss://, unix://, redis+cluster://, rediss+cluster://, redis+sentinel:// or "
    "rediss+sentinel://"
)
NO_URL: Final = f"it is none like redis://:password@host:6379/0; {ESCAPED}"
NO_NODE: Final = f"one of its nodes is not host:port; {ESCAPED}"
NO_OPTION: Final = f"after the question mark it may have {', '.join(sorted(TLS))}, and with sentinels sentinel_password"
NO_TLS: Final = "options of TLS need rediss+cluster:// or rediss+sentinel://"
NO_DATABASES: Final = "a cluster has one database; no path may follow its nodes"
NO_SOCKET: Final = "after unix:// it must have the path of the server's socket, as in unix:///run/valkey.sock"
NO_SERVICE: Final = "after its nodes it must have the name that the sentinels watch, as in /ledger or /ledger/0"


class Kind(StrEnum):
    """What stands behind an address."""

    SERVER = "server"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


PORTS: Final = {Kind.CLUSTER: 6379, Kind.SENTINEL: 26379}


@dataclass(frozen=True, slots=True)
class Address:
    """Where the ledger is. What holds a password stays out of its `repr`."""

    kind: Kind
    url: str = field(default="", repr=False)
    """Of a single server, as the driver takes it."""
    nodes: tuple[tuple[str, int], ...] = ()
    """Of a cluster, or the sentinels."""
    service: str = ""
    """The name under which the sentinels watch the ledger."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """For connections to the ledger: user, password, TLS."""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """For connections to the sentinels."""

    @property
    def keepalive(self) -> dict[str, Any]:
        """The option that keeps idle TCP connections up; a Unix socket has none."""
        return {} if self.url.startswith("unix:") else {"socket_keepalive": True}


def read_address(url: SecretStr) -> Address:
    """Read the address. No message quotes it, because of the password in it.

    Raises:
        SettingsError: it is none; one line says what is wrong.
    """
    text = url.get_secret_value()
    scheme, _, rest = text.partition("://")
    transport, _, kind = scheme.partition("+")
    if transport in {"redis", "rediss"} and kind in PORTS:
        return _several(Kind(kind), rest, tls=transport == "rediss")
    if scheme not in {"redis", "rediss", "unix"}:
        raise _wrong(NO_SCHEME)
    options = _options(text)
    if scheme == "unix" and not options.get("path"):
        raise _wrong(NO_SOCKET)
    return Address(Kind.SERVER, url=text)


def _several(kind: Kind, rest: str, *, tls: bool) -> Address:
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    user, at, hosts = authority.rpartition("@")
    nodes = tuple(_node(host, PORTS[kind]) for host in hosts.split(","))
    options = _options(f"redis://{user}{at}host/?{query}")
    del options["host"]
    of_sentinels = {name: options.pop(f"sentinel_{name}", None) for name in ("username", "password")}
    asked = {name: value for name, value in of_sentinels.items() if value is not None}
    if options.keys() - TLS - {"username", "password"} or (asked and kind is Kind.CLUSTER):
        raise _wrong(NO_OPTION)
    secured = {name: value for name, value in options.items() if name in TLS}
    if secured and not tls:
        raise _wrong(NO_TLS)
    if tls:
        options["ssl"] = secured["ssl"] = True
    if kind is Kind.CLUSTER:
        if path:
            raise _wrong(NO_DATABASES)
        return Address(kind, nodes=nodes, options=options)
    found = re.fullmatch(r"([^/]+)(?:/(\d{1,4}))?", path)
    if found is None:
        raise _wrong(NO_SERVICE)
    options["db"] = int(found[2] or 0)
    return Address(kind, nodes=nodes, service=found[1], options=options, sentinel_options={**asked, **secured})


def _node(text: str, port: int) -> tuple[str, int]:
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]@]+)(?::(\d{1,5}))?", text)
    if found is None or int(found[2] or port) not in range(1, LAST_PORT + 1):
        raise _wrong(NO_NODE)
    return found[1].strip("[]"), int(found[2] or port)


def _options(url: str) -> dict[str, Any]:
    try:
        return dict(parse_url(url))  # type: ignore[no-untyped-call]
    except ValueError:
        raise _wrong(NO_URL) from None


def _wrong(why: str) -> SettingsError:
    return SettingsError(f"VULTUS_LEDGER_URL is wrong: {why}")

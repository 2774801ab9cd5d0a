"""Parses `VULTUS_LEDGER_URL`: one server, a cluster, or a service monitored by sentinels."""

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
ESCAPED: Final = "percent-encode special characters of the password (%40 and so on)"
NO_SCHEME: Final = (
    "it must begin with redis://, rediss://, unix://, redis+cluster://, rediss+cluster://, redis+sentinel:// or "
    "rediss+sentinel://"
)
NO_URL: Final = f"it must look like redis://:password@host:6379/0; {ESCAPED}"
NO_NODE: Final = f"one of its nodes is not host:port; {ESCAPED}"
NO_OPTION: Final = (
    f"the options after the question mark may be {', '.join(sorted(TLS))}, and with sentinels sentinel_password"
)
NO_TLS: Final = "TLS options require rediss+cluster:// or rediss+sentinel://"
NO_DATABASES: Final = "a cluster has only one database; remove the path after its nodes"
NO_SOCKET: Final = "unix:// must be followed by the path of the server's socket, as in unix:///run/valkey.sock"
NO_SERVICE: Final = "its nodes must be followed by the name that the sentinels monitor, as in /ledger or /ledger/0"


class Kind(StrEnum):
    """What an address refers to."""

    SERVER = "server"
    CLUSTER = "cluster"
    SENTINEL = "sentinel"


PORTS: Final = {Kind.CLUSTER: 6379, Kind.SENTINEL: 26379}


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed address. Fields that may contain a password are not in its `repr`."""

    kind: Kind
    url: str = field(default="", repr=False)
    """URL of a single server, for the driver."""
    nodes: tuple[tuple[str, int], ...] = ()
    """Hosts and ports of cluster nodes or sentinels."""
    service: str = ""
    """Name under which the sentinels monitor the ledger."""
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options of connections to the ledger: user, password, TLS."""
    sentinel_options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """Options of connections to the sentinels."""

    @property
    def keepalive(self) -> dict[str, Any]:
        """The option that keeps idle TCP connections alive; not available for Unix sockets."""
        return {} if self.url.startswith("unix:") else {"socket_keepalive": True}


def read_address(url: SecretStr) -> Address:
    """Parse the address. No message repeats it, because it may contain a password.

    Raises:
        SettingsError: the address is invalid; one line says why.
    """
    text = url.get_secret_value()
    scheme, _, rest = text.partition("://")
    transport, _, kind = scheme.partition("+")
    if transport in {"redis", "rediss"} and kind in PORTS:
        return _read_nodes(Kind(kind), rest, tls=transport == "rediss")
    if scheme not in {"redis", "rediss", "unix"}:
        raise _wrong(NO_SCHEME)
    options = _options(text)
    if scheme == "unix" and not options.get("path"):
        raise _wrong(NO_SOCKET)
    return Address(Kind.SERVER, url=text)


def _read_nodes(kind: Kind, rest: str, *, tls: bool) -> Address:
    before, _, query = rest.partition("?")
    authority, _, path = before.partition("/")
    user, at, hosts = authority.rpartition("@")
    nodes = tuple(_node(host, PORTS[kind]) for host in hosts.split(","))
    options = _options(f"redis://{user}{at}host/?{query}")
    del options["host"]
    sentinel_login = {
        name: value for name in ("username", "password") if (value := options.pop(f"sentinel_{name}", None)) is not None
    }
    if options.keys() - TLS - {"username", "password"} or (sentinel_login and kind is Kind.CLUSTER):
        raise _wrong(NO_OPTION)
    tls_options = {name: value for name, value in options.items() if name in TLS}
    if tls_options and not tls:
        raise _wrong(NO_TLS)
    if tls:
        options["ssl"] = tls_options["ssl"] = True
    if kind is Kind.CLUSTER:
        if path:
            raise _wrong(NO_DATABASES)
        return Address(kind, nodes=nodes, options=options)
    match = re.fullmatch(r"([^/]+)(?:/(\d{1,4}))?", path)
    if match is None:
        raise _wrong(NO_SERVICE)
    options["db"] = int(match[2] or 0)
    sentinel_options = {**sentinel_login, **tls_options}
    return Address(kind, nodes=nodes, service=match[1], options=options, sentinel_options=sentinel_options)


def _node(text: str, port: int) -> tuple[str, int]:
    match = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[^\s:\[\]@]+)(?::(\d{1,5}))?", text)
    if match is None or int(match[2] or port) not in range(1, LAST_PORT + 1):
        raise _wrong(NO_NODE)
    return match[1].strip("[]"), int(match[2] or port)


def _options(url: str) -> dict[str, Any]:
    try:
        return dict(parse_url(url))  # type: ignore[no-untyped-call]
    except ValueError:
        raise _wrong(NO_URL) from None


def _wrong(why: str) -> SettingsError:
    return SettingsError(f"VULTUS_LEDGER_URL is wrong: {why}")

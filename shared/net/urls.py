"""Addresses on the web, read more strictly than browsers do: no two readers of one can differ on where it leads."""

import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NoReturn

import idna

MAX_URL: Final = 2048
"""Characters."""
DEFAULT_PORTS: Final = {"https": 443, "http": 80}

_MAX_NAME: Final = 253
_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(?::([0-9]{1,5}))?")
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_TARGET: Final = re.compile(r"[!-~]*")


class UrlError(ValueError):
    """A URL, or a host, is not taken; the message says why and repeats nothing of it."""


@dataclass(frozen=True, slots=True)
class Url:
    """An address that was read. `host` is in lower case and in ASCII; an IPv6 address has no brackets."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    """Path and query: they may hold a secret, and stand in no log."""

    @property
    def origin(self) -> str:
        """Scheme, host and, where it is not the usual one, port."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}")

    def __str__(self) -> str:
        """The address, whole."""
        return self.origin + self.target


def read_url(text: str) -> Url:
    """Read a URL more strictly than browsers do, so that no two readers of it can differ on where it leads.

    Names may be international (they become `xn--`) and end with a dot. Addresses are IPv4 in four decimal parts or
    IPv6 in brackets: no zone, no short, octal, hexadecimal or single number. No user, no escapes in the host. A
    fragment is dropped.

    Raises:
        UrlError: it is not of that form.
    """
    if len(text) > MAX_URL:
        _refuse(f"is longer than {MAX_URL} characters")
    found = _URL.fullmatch(text)
    if found is None:
        _refuse("is no absolute URL")
    scheme, authority, path, query = found[1].lower(), found[2], found[3], found[4] or ""
    if scheme not in DEFAULT_PORTS:
        _refuse("must begin with https://")
    if not _TARGET.fullmatch(path + query) or "\\" in path + query:
        _refuse("must be percent-encoded: it holds a space, a backslash, or a character that is not ASCII")
    host, port = read_authority(authority)
    return Url(scheme, host, DEFAULT_PORTS[scheme] if port is None else port, (path or "/") + query)


def read_authority(text: str) -> tuple[str, int | None]:
    """Host and port of `host`, `host:port` or `[IPv6]:port`; the host in lower case and in ASCII.

    Raises:
        UrlError: it is not of that form.
    """
    if "@" in text:
        _refuse("must not hold a user or a password")
    if "%" in text:
        _refuse("its host must hold no escapes and no zone")
    found = _AUTHORITY.fullmatch(text)
    if found is None:
        _refuse("has no host that can be read")
    port = None if found[2] is None else int(found[2])
    if port is not None and not 1 <= port <= 65535:  # noqa: PLR2004 - the range of ports
        _refuse("its port is none")
    return _read_host(found[1]), port


def _read_host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            _refuse("its host is no IPv6 address")
    name = text.lower() if text.isascii() else _to_ascii(text)
    name = name.removesuffix(".")
    if is_numeric(name):
        if not text.isascii() or _strict_ipv4(name) != name:
            _refuse("its host is a number; an IPv4 address has four decimal parts")
        return name
    if len(name) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        _refuse("its host is no name")
    return name


def _to_ascii(name: str) -> str:
    if len(name) > _MAX_NAME:
        _refuse("its host is no name")
    try:
        return idna.encode(name, uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        _refuse("its host is no name")


def is_numeric(name: str) -> bool:
    """True where the last part is a number: systems take such a host for an address, in whatever form."""
    return _NUMBER.fullmatch(name.rsplit(".", 1)[-1]) is not None


def _strict_ipv4(name: str) -> str | None:
    try:
        return str(IPv4Address(name))
    except ValueError:
        return None


def _refuse(why: str) -> NoReturn:
    raise UrlError(why)


MOST_RESERVED: Final = 1023
"""The last of the ports that systems keep for themselves: of those only the two of the web are taken for webhooks."""


def read_webhook_url(text: str, *, allow_http: bool) -> Url:
    """Read the address of a receiver. Looks up no name.

    Raises:
        UrlError: it is of another form, its scheme is not taken, or its port is one of another service.
    """
    url = read_url(text)
    if url.scheme == "http" and not allow_http:
        _refuse("must begin with https://")
    if url.port <= MOST_RESERVED and url.port not in DEFAULT_PORTS.values():
        _refuse("its port is kept for other services")
    return url

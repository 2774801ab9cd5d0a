"""Parses URLs more strictly than browsers do, so that no two parsers can disagree on the host."""

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
    """A URL or host is refused. The message gives the reason and does not repeat the URL."""


@dataclass(frozen=True, slots=True)
class Url:
    """A parsed URL. `host` is in lower case and in ASCII; an IPv6 address has no brackets."""

    scheme: str
    host: str
    port: int
    target: str = field(repr=False)
    """Path and query. They may contain a secret and are never logged."""

    @property
    def origin(self) -> str:
        """Scheme and host, and the port unless it is the default."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == DEFAULT_PORTS[self.scheme] else f":{self.port}")

    def __str__(self) -> str:
        """Return the whole URL."""
        return self.origin + self.target


def read_url(text: str) -> Url:
    """Parse a URL more strictly than browsers do, so that no two parsers can disagree on the host.

    Names may be international (they are converted to `xn--`) and may end with a dot. IP addresses must be IPv4 with
    four decimal parts, or IPv6 in brackets without a zone; short, octal, hexadecimal and single-number forms are
    refused. The URL must not contain a user or escapes in the host. A fragment is dropped.

    Raises:
        UrlError: the URL does not have this form.
    """
    if len(text) > MAX_URL:
        _refuse(f"is longer than {MAX_URL} characters")
    match = _URL.fullmatch(text)
    if match is None:
        _refuse("is not an absolute URL")
    scheme, authority, path, query = match[1].lower(), match[2], match[3], match[4] or ""
    if scheme not in DEFAULT_PORTS:
        _refuse("must begin with https://")
    if not _TARGET.fullmatch(path + query) or "\\" in path + query:
        _refuse("must be percent-encoded: it contains a space, a backslash, or a non-ASCII character")
    host, port = read_authority(authority)
    return Url(scheme, host, DEFAULT_PORTS[scheme] if port is None else port, (path or "/") + query)


def read_authority(text: str) -> tuple[str, int | None]:
    """Parse `host`, `host:port` or `[IPv6]:port`. Return the host, in lower case and in ASCII, and the port.

    Raises:
        UrlError: the text does not have this form.
    """
    if "@" in text:
        _refuse("must not contain a user name or a password")
    if "%" in text:
        _refuse("must not contain escapes or a zone in the host")
    match = _AUTHORITY.fullmatch(text)
    if match is None:
        _refuse("has no valid host")
    port = None if match[2] is None else int(match[2])
    if port is not None and not 1 <= port <= 65535:  # noqa: PLR2004 - valid ports
        _refuse("has an invalid port")
    return _read_host(match[1]), port


def _read_host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(IPv6Address(text[1:-1]))
        except ValueError:
            _refuse("has an invalid IPv6 address as host")
    name = text.lower() if text.isascii() else _to_ascii(text)
    name = name.removesuffix(".")
    if is_numeric(name):
        if not text.isascii() or _strict_ipv4(name) != name:
            _refuse("has a number as host; an IPv4 address must have four decimal parts")
        return name
    if len(name) > _MAX_NAME or not all(_LABEL.fullmatch(label) for label in name.split(".")):
        _refuse("has an invalid host name")
    return name


def _to_ascii(name: str) -> str:
    if len(name) > _MAX_NAME:
        _refuse("has an invalid host name")
    try:
        return idna.encode(name, uts46=True).decode().lower()
    except (idna.IDNAError, UnicodeError):
        _refuse("has an invalid host name")


def is_numeric(name: str) -> bool:
    """Return whether the last part is a number: systems read such a host as an IP address in some form."""
    return _NUMBER.fullmatch(name.rsplit(".", 1)[-1]) is not None


def _strict_ipv4(name: str) -> str | None:
    try:
        return str(IPv4Address(name))
    except ValueError:
        return None


def _refuse(why: str) -> NoReturn:
    raise UrlError(why)


MOST_RESERVED: Final = 1023
"""Last of the system ports (RFC 6335). Of these, webhooks may use only those of HTTP and HTTPS."""


def read_webhook_url(text: str, *, allow_http: bool) -> Url:
    """Parse the URL of a webhook receiver, without resolving its name.

    Raises:
        UrlError: the URL is malformed, its scheme is not allowed, or its port is reserved for another service.
    """
    url = read_url(text)
    if url.scheme == "http" and not allow_http:
        _refuse("must begin with https://")
    if url.port <= MOST_RESERVED and url.port not in DEFAULT_PORTS.values():
        _refuse("has a port that is reserved for other services")
    return url

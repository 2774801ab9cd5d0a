"""Message framing: which heads are unambiguous HTTP/1.1, and how many bytes a request may spend around its body."""

import re
from collections.abc import Sequence
from typing import Final

Header = tuple[bytes, bytes]

VERSIONS: Final = frozenset({"1.0", "1.1"})
FRAMING: Final = 32 * 1024
"""Bytes of chunk sizes, chunk extensions and trailers that every request may bring."""
BODY_PER_FRAMING: Final = 8
"""Bytes of body that pay for one more byte of framing: chunks of 64 bytes and more always fit."""
HOP_BY_HOP: Final = frozenset({b"upgrade", b"http2-settings"})
"""Headers of an offered upgrade. We never accept one, so they are dropped (RFC 9110, 7.8)."""

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


def head_error(*, method: bytes, version: str, target: bytes, headers: Sequence[Header]) -> str | None:
    """Why a head that the parser accepted is refused all the same, as a sentence; None where it is fine.

    Two servers could read such a head in two ways (RFC 9112, 3.2 and 6.1), which is what request smuggling needs.
    """
    if version not in VERSIONS:
        return "The gateway speaks HTTP/1.1 and HTTP/1.0 only."
    if method == b"CONNECT":
        return "The gateway is not a proxy: CONNECT is not supported."
    hosts = [value for name, value in headers if name == b"host"]
    if len(hosts) > 1 or (not hosts and version != "1.0"):
        return "The request must have exactly one Host header."
    if hosts and not _HOST.fullmatch(hosts[0]):
        return "The Host header is not a host name with an optional port."
    return _target_error(target, hosts) or _coding_error(version, headers)


def _target_error(target: bytes, hosts: Sequence[bytes]) -> str | None:
    if target.startswith(b"/"):
        return None
    absolute = _ABSOLUTE.match(target)
    if absolute is None:
        return "The request target must be a path."
    if hosts and absolute[1].lower() != hosts[0].lower():
        return "The request target names another host than the Host header."
    return None


def _coding_error(version: str, headers: Sequence[Header]) -> str | None:
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and codings != [b"chunked"]:
        return "The only transfer coding supported is chunked."
    if codings and version == "1.0":
        return "HTTP/1.0 has no transfer codings."
    return None


def has_body(headers: Sequence[Header]) -> bool:
    """Whether a body follows this head."""
    lengths = [value for name, value in headers if name == b"content-length"]
    return any(name == b"transfer-encoding" for name, _ in headers) or any(value.strip(b"0 ") for value in lengths)


def without_upgrade(*, method: bytes, version: str, target: bytes, headers: Sequence[Header]) -> bytes:
    """The same head, as bytes, without its offer to switch protocols."""
    lines = [b"%b %b HTTP/%b\r\n" % (method, target, version.encode())]
    for name, value in headers:
        if name == b"connection":
            kept = [token.strip() for token in value.split(b",") if token.strip().lower() not in HOP_BY_HOP]
            if kept:
                lines.append(b"connection: %b\r\n" % b", ".join(kept))
        elif name not in HOP_BY_HOP:
            lines.append(b"%b: %b\r\n" % (name, value))
    return b"".join([*lines, b"\r\n"])


def too_much_framing(*, framing: int, body: int) -> bool:
    """Whether a request brought more bytes around its body than the body justifies."""
    return framing > FRAMING + body // BODY_PER_FRAMING

"""HTTP message framing: reject ambiguous request heads, and limit the bytes around a body."""

import re
from collections.abc import Sequence
from typing import Final

Header = tuple[bytes, bytes]

VERSIONS: Final = frozenset({"1.0", "1.1"})
FRAMING: Final = 32 * 1024
"""Bytes of chunk sizes, chunk extensions, and trailers allowed for every request."""
BODY_PER_FRAMING: Final = 8
"""Bytes of body per further byte of framing. Chunks of 64 bytes or more always fit."""
HOP_BY_HOP: Final = frozenset({b"upgrade", b"http2-settings"})
"""Headers that offer an upgrade. The gateway never accepts one and drops them (RFC 9110, section 7.8)."""

_HOST: Final = re.compile(rb"(?:[A-Za-z0-9._~%!$&'()*+,;=-]+|\[[0-9A-Fa-f:.]+\])(?::\d*)?")
_ABSOLUTE: Final = re.compile(rb"https?://([^/?#]*)", re.IGNORECASE)


def head_error(*, method: bytes, version: str, target: bytes, headers: Sequence[Header]) -> str | None:
    """Return why a head that the parser accepted must be refused, as a sentence, or None if it is valid.

    Two servers could interpret such a head differently (RFC 9112, sections 3.2 and 6.1), which enables request
    smuggling.
    """
    if version not in VERSIONS:
        return "Only HTTP/1.1 and HTTP/1.0 are supported."
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
        return "The request target and the Host header name different hosts."
    return None


def _coding_error(version: str, headers: Sequence[Header]) -> str | None:
    codings = [value.strip().lower() for name, value in headers if name == b"transfer-encoding"]
    if codings and codings != [b"chunked"]:
        return "The only supported transfer coding is chunked."
    if codings and version == "1.0":
        return "Transfer codings are not allowed in HTTP/1.0."
    return None


def has_body(headers: Sequence[Header]) -> bool:
    """True if a body follows this head."""
    lengths = [value for name, value in headers if name == b"content-length"]
    return any(name == b"transfer-encoding" for name, _ in headers) or any(value.strip(b"0 ") for value in lengths)


def without_upgrade(*, method: bytes, version: str, target: bytes, headers: Sequence[Header]) -> bytes:
    """Serialize the head without its offer to switch protocols."""
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
    """True if a request has more bytes of framing than its body justifies."""
    return framing > FRAMING + body // BODY_PER_FRAMING

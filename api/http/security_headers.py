"""Security headers for browsers, and the check of the `Host` header."""

import base64
import hashlib
import re
from collections.abc import Collection
from datetime import timedelta
from typing import Final

from starlette.types import Message

PAGES: Final = "/docs"
DEMO: Final = "/demo/"
_INLINE: Final = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
Pair = tuple[bytes, bytes]

NOTHING: Final = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""Policy for data. A browser that displays such a response loads and runs nothing."""
OWN: Final = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'{}; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
"""Policy for the gateway's own pages. Swagger UI writes inline styles."""
SAME: Final[tuple[Pair, ...]] = (
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
CLOSED: Final = b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"
CAMERA: Final = CLOSED.replace(b"camera=()", b"camera=(self)")
"""For the demo page, which uses the camera."""


def page_policy(page: bytes) -> str:
    """Return a policy for one of our pages that allows only the page's own inline scripts."""
    digests = (hashlib.sha256(script).digest() for script in _INLINE.findall(page))
    return OWN.format("".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests))


def protect(message: Message, *, path: str, secure: bool, hsts: timedelta) -> None:
    """Add missing security headers to the start of a response; `secure` means that it is sent over TLS."""
    headers: list[Pair] = list(message.get("headers", ()))
    present = {name.lower() for name, _ in headers}
    pages = path == PAGES or path.startswith((PAGES + "/", DEMO))
    defaults = [
        *SAME,
        (b"content-security-policy", OWN.format("").encode() if pages else NOTHING),
        (b"permissions-policy", CAMERA if path.startswith(DEMO) else CLOSED),
    ]
    if secure and hsts:
        defaults.append((b"strict-transport-security", b"max-age=%d" % hsts.total_seconds()))
    message["headers"] = headers + [pair for pair in defaults if pair[0] not in present]


def is_allowed_host(host: str, allowed: Collection[str]) -> bool:
    """True if a `Host` header, with or without a port, is in the list; `*.example.org` allows any subdomain."""
    name = re.sub(r":\d*$", "", host).lower().rstrip(".")
    return any(name == entry or (entry.startswith("*.") and name.endswith(entry[1:])) for entry in allowed)

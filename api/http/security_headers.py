"""The headers that keep browsers from doing with an answer what it is not for, and the names that we answer to."""

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
"""For answers that are data: a browser that shows one anyway loads nothing and runs nothing."""
OWN: Final = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self'{}; object-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
"""For our own pages. Swagger UI writes styles into its elements."""
SAME: Final[tuple[Pair, ...]] = (
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
CLOSED: Final = b"camera=(), microphone=(), geolocation=(), payment=(), usb=()"
CAMERA: Final = CLOSED.replace(b"camera=()", b"camera=(self)")
"""For the one page that looks at its user."""


def page_policy(page: bytes) -> str:
    """A policy for a page of ours that lets exactly the scripts run which stand in it."""
    digests = (hashlib.sha256(script).digest() for script in _INLINE.findall(page))
    return OWN.format("".join(f" 'sha256-{base64.b64encode(digest).decode()}'" for digest in digests))


def protect(message: Message, *, path: str, secure: bool, hsts: timedelta) -> None:
    """Add to an answer's beginning what it does not say itself; `secure` where it goes over TLS."""
    headers: list[Pair] = list(message.get("headers", ()))
    said = {name.lower() for name, _ in headers}
    pages = path == PAGES or path.startswith((PAGES + "/", DEMO))
    wanted = [
        *SAME,
        (b"content-security-policy", OWN.format("").encode() if pages else NOTHING),
        (b"permissions-policy", CAMERA if path.startswith(DEMO) else CLOSED),
    ]
    if secure and hsts:
        wanted.append((b"strict-transport-security", b"max-age=%d" % hsts.total_seconds()))
    message["headers"] = headers + [pair for pair in wanted if pair[0] not in said]


def is_ours(host: str, names: Collection[str]) -> bool:
    """Whether a `Host` header, perhaps with a port, is one of these names; `*.` stands for any name below."""
    name = re.sub(r":\d*$", "", host).lower().rstrip(".")
    return any(name == own or (own.startswith("*.") and name.endswith(own[1:])) for own in names)

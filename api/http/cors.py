"""Cross-origin requests (CORS): listed origins may call, and a refused preflight says why."""

from typing import Any, Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import is_preflight, problem
from shared.errors import ErrorCode

OPTIONS: Final[dict[str, Any]] = {
    "allow_methods": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    # Any header: listed origins are trusted, there are no cookies, and tracing libraries add their own headers.
    "allow_headers": ("*",),
    "allow_private_network": True,
    "expose_headers": (
        "Allow",
        "ETag",
        "Idempotent-Replayed",
        "Location",
        "Preference-Applied",
        "RateLimit",
        "RateLimit-Policy",
        "Retry-After",
        "WWW-Authenticate",
        "X-Request-ID",
    ),
}
"""What listed origins may send and read. The gateway uses no cookies."""


class Cors(CORSMiddleware):
    """Starlette's middleware, with a problem document for each refused preflight."""

    def __init__(self, app: ASGIApp, *, origins: tuple[str, ...]) -> None:
        super().__init__(app, allow_origins=origins, **OPTIONS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if scope["type"] != "http" or not is_preflight(scope["method"], headers):
            await super().__call__(scope, receive, send)
            return
        if not self.is_allowed_origin(headers["origin"]):
            detail = "This origin is not listed in VULTUS_CORS_ORIGINS."
        elif headers["access-control-request-method"] not in self.allow_methods:
            detail = "This method is not allowed in cross-origin requests."
        else:
            await super().__call__(scope, receive, send)
            return
        response = problem(ErrorCode.CORS_REFUSED, detail, scope=scope, headers={"Vary": "Origin"})
        await response(scope, receive, send)

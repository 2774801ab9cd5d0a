"""Calls from web pages of other origins (CORS): listed ones may call, and a refused preflight says why."""

from typing import Any, Final

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.problems import is_preflight, problem
from shared.errors import ErrorCode

OPTIONS: Final[dict[str, Any]] = {
    "allow_methods": ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"),
    # Any header: a listed page is trusted, there are no cookies, and tracing libraries add headers of their own.
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
"""What listed pages may send and see; never cookies, of which there are none."""


class Cors(CORSMiddleware):
    """Starlette's middleware, with a problem document for each preflight that it refuses."""

    def __init__(self, app: ASGIApp, *, origins: tuple[str, ...]) -> None:
        super().__init__(app, allow_origins=origins, **OPTIONS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        if scope["type"] != "http" or not is_preflight(scope["method"], headers):
            await super().__call__(scope, receive, send)
            return
        if not self.is_allowed_origin(headers["origin"]):
            detail = "Pages of this origin may not call: it is not listed in VULTUS_CORS_ORIGINS."
        elif headers["access-control-request-method"] not in self.allow_methods:
            detail = "Pages of other origins may not call with this method."
        else:
            await super().__call__(scope, receive, send)
            return
        response = problem(ErrorCode.CORS_REFUSED, detail, scope=scope, headers={"Vary": "Origin"})
        await response(scope, receive, send)

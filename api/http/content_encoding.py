"""Refuse compressed request bodies: decompressing them would defeat every size limit."""

from typing import Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from api.http.middleware import refuse_unread
from shared.errors import ErrorCode

WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
NO_CODINGS: Final = frozenset({"", "identity", "binary", "utf-8", "utf8"})
"""Values of Content-Encoding that leave the body as it is. All except `identity` are harmless client mistakes."""


class PlainBodies:
    """Responds with 415 to a request whose body has a content coding, and names the accepted one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "http" and scope["method"] in WITH_BODY and _is_coded(Headers(scope=scope)):
            detail = "The body has a Content-Encoding. Compressed bodies are not accepted; send it uncompressed."
            code, headers = ErrorCode.UNSUPPORTED_MEDIA_TYPE, {"Accept-Encoding": "identity"}
            await refuse_unread(code, detail, scope=scope, receive=receive, send=send, headers=headers)
            return
        await self._app(scope, receive, send)


def _is_coded(headers: Headers) -> bool:
    codings = ",".join(headers.getlist("content-encoding")).split(",")
    return any(coding.strip().lower() not in NO_CODINGS for coding in codings)

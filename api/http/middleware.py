"""Middleware around every request: id, log line, size limit, and a response whatever happens."""

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.draining import Drain
from api.http.metrics import IN_PROGRESS, NO_ROUTE, method_of, note_request
from api.http.problems import internal_error, problem
from api.http.security_headers import is_allowed_host, protect
from shared.errors import ErrorCode
from shared.observability import request_context, tracing
from shared.observability.request_context import RequestContext, read_traceparent
from shared.observability.spans import NOTHING, Span

ID_HEADER: Final = "X-Request-ID"
_ID: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
QUIET: Final = frozenset({"/livez", "/readyz", "/health"})
"""Paths polled every few seconds by machines; logged at debug level."""
CLIENT_CLOSED: Final = 499
"""The status logged, as in nginx, if the client disconnects before the response."""

DRAIN: Final = timedelta(seconds=5)
DRAIN_BYTES: Final = 64 * 1024 * 1024
"""Limits on reading the rest of a refused body, which is read so that the client sees the response."""

log = structlog.get_logger(__name__)


class RequestContextMiddleware:
    """Gives every request an id, binds it to the log, logs one line, and turns unhandled exceptions into a 500."""

    def __init__(self, app: ASGIApp, *, drain: Drain, hsts: timedelta = timedelta(0)) -> None:
        self._app = app
        self._hsts = hsts
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        _drop_trailing_slash(scope)
        headers = Headers(scope=scope)
        client_id = headers.get(ID_HEADER, "")
        request_id = client_id if _ID.fullmatch(client_id) else f"req_{secrets.token_hex(12)}"
        scope.setdefault("state", {})["request_id"] = request_id
        parent = read_traceparent(headers.get("traceparent", ""))
        response = _Response(scope, send, drain=self._drain, hsts=self._hsts)
        structlog.contextvars.clear_contextvars()
        with (
            IN_PROGRESS.track_inprogress(),
            _span(scope, parent) as span,
            request_context.bind_request_context(RequestContext(request_id, span.traceparent or parent)),
        ):
            try:
                await self._app(scope, receive, response)
            except ClientDisconnect:
                pass
            except Exception:
                log.exception("request.failed", method=scope["method"], path=_template(scope))
                if response.status != CLIENT_CLOSED:
                    raise  # the response has started; only the server can close the connection
                await internal_error(scope)(scope, receive, response)
            finally:
                _note(scope, span, status=response.status, seconds=time.perf_counter() - began)


class _Response:
    """Sends a response with the headers common to all responses, and records its status."""

    def __init__(self, scope: Scope, send: Send, *, drain: Drain, hsts: timedelta) -> None:
        self._state: dict[str, Any] = scope["state"]
        self._path: str = scope["path"]
        self._secure = scope.get("scheme") == "https"
        self._send = send
        self._drain = drain
        self._hsts = hsts
        self.status = CLIENT_CLOSED

    async def __call__(self, message: Message) -> None:
        """Send one message of the response."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers[ID_HEADER] = self._state["request_id"]
            headers["X-Content-Type-Options"] = "nosniff"
            if self._drain.began:
                headers["Connection"] = "close"
            headers.setdefault("Cache-Control", "no-store")
            for name, value in self._state.get("more_headers", {}).items():
                headers[name] = value
            protect(message, path=self._path, secure=self._secure, hsts=self._hsts)
        await self._send(message)


def _drop_trailing_slash(scope: Scope) -> None:
    """Serve `/detect/` as `/detect`, so that routes, limits, scopes, and metrics see a single path."""
    if len(scope["path"]) > 1 and scope["path"].endswith("/"):
        scope["path"] = scope["path"][:-1]
        scope["raw_path"] = (scope.get("raw_path") or b"").removesuffix(b"/")


def _span(scope: Scope, parent: str | None) -> AbstractContextManager[Span]:
    if scope["path"] in QUIET:
        return nullcontext(NOTHING)
    return tracing.span(str(scope["method"]), parent=parent, kind="server")


def _note(scope: Scope, span: Span, *, status: int, seconds: float) -> None:
    path = _template(scope)
    method = method_of(scope["method"])
    span.name(f"{method} {path}")
    span.note(
        {
            "http.request.method": method,
            "http.route": path,
            "http.response.status_code": status,
            "vultus.request.id": scope["state"]["request_id"],
        }
    )
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.fail(str(status))
    note_request(method=method, route=path, status=status, seconds=seconds)
    more = {"code": scope["state"]["problem"]} if "problem" in scope["state"] else {}
    write = log.debug if path in QUIET else log.info
    write("request", method=scope["method"], path=path, status=status, ms=round(seconds * 1000, 1), **more)


def _template(scope: Scope) -> str:
    """Return the route's path template, or `NO_ROUTE`: unknown paths are not logged."""
    return getattr(scope.get("route"), "path", None) or NO_ROUTE


class HeadAsGet:
    """Responds to `HEAD` wherever `GET` is supported: same headers, no body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        complete = False

        async def headers_only(message: Message) -> None:
            nonlocal complete
            if message["type"] == "http.response.start":
                await send(message)
            elif not complete:
                complete = True  # do not wait for the end of a stream
                await send({"type": "http.response.body", "body": b""})

        get = {**scope, "method": "GET"}
        try:
            await self._app(get, receive, headers_only)
        finally:
            scope.update({name: get[name] for name in ("route",) if name in get})


class AllowedHosts:
    """Refuses requests whose `Host` header is not allowed, which protects against DNS rebinding."""

    def __init__(self, app: ASGIApp, *, hosts: Collection[str]) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        checked = scope["type"] == "http" and scope["path"] not in QUIET
        if checked and not is_allowed_host(Headers(scope=scope).get("host", ""), self._hosts):
            detail = "The Host header does not name this gateway."
            await refuse_unread(ErrorCode.HOST_REFUSED, detail, scope=scope, receive=receive, send=send)
            return
        await self._app(scope, receive, send)


class BodyLimit:
    """Refuses a body above the limit of its path: by Content-Length before reading it, otherwise while reading it."""

    def __init__(self, app: ASGIApp, *, limit: Callable[[str, str], int]) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        limit = self._limit(scope["path"], headers.get("content-type", ""))
        declared = headers.get("content-length", "")
        if declared.isdigit() and int(declared) > limit:
            await self._refuse(limit, scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > limit:
                raise _TooLargeError
            return message

        try:
            await self._app(scope, counted, send)
        except _TooLargeError:
            await self._refuse(limit, scope, receive, send)

    @staticmethod
    async def _refuse(limit: int, scope: Scope, receive: Receive, send: Send) -> None:
        detail = f"The request body is larger than the {limit} bytes that this endpoint accepts."
        await refuse_unread(ErrorCode.REQUEST_TOO_LARGE, detail, scope=scope, receive=receive, send=send)


class _TooLargeError(Exception):
    """The body exceeded its limit while being read. No handler catches it, so that it reaches `BodyLimit`."""


async def refuse_unread(
    code: ErrorCode,
    detail: str,
    *,
    scope: Scope,
    receive: Receive,
    send: Send,
    retry_after: timedelta | None = None,
    headers: Mapping[str, str] | None = None,
    drain: bool = True,
) -> None:
    """Refuse a request whose body has not been read, then close; `drain` reads and discards the rest of the body."""
    more = {"Connection": "close", **(headers or {})}
    response = problem(code, detail, scope=scope, retry_after=retry_after, headers=more)
    # If the server closed while the client was still sending, the client would see a reset instead of the response.
    # So send the response, discard the rest of the body, and only then end the response.
    await send({"type": "http.response.start", "status": response.status_code, "headers": response.raw_headers})
    await send({"type": "http.response.body", "body": response.body, "more_body": True})
    try:
        async with asyncio.timeout(DRAIN.total_seconds()):
            left = DRAIN_BYTES if drain else 0
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    break
    except TimeoutError:
        pass
    await send({"type": "http.response.body", "body": b""})

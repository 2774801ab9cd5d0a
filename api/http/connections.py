"""Client connections below the application: limits on heads, framing, pipelining, time, and number."""

import asyncio
import secrets
from datetime import timedelta
from typing import Any, Final

import httptools
import structlog
from starlette.types import Scope
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.http.framing import has_body, head_error, too_much_framing, without_upgrade
from api.http.problems import problem
from api.http.uploads import DETAILS, REFUSAL
from shared.errors import ErrorCode

MAX_HEAD: Final = 32 * 1024
"""Bytes of the request line and headers together."""
MAX_HEADERS: Final = 100
MAX_PIPELINED: Final = 8
"""Requests without a body that may wait behind the current one."""
SLICE: Final = 64 * 1024
"""Bytes parsed between two checks of the limits. The transport may deliver 256 KiB at once."""
UNWANTED: Final = 64 * 1024 * 1024
"""Bytes of a body that are read and discarded after the response."""
SPARE: Final = 64
"""Connections above the limit that still get an error response. Any further ones are reset."""
LINGER: Final = 1.0
"""Seconds for which input is discarded after a refusal, so that the client reads the response, not a reset."""
UNREAD: Final = 60.0
"""Seconds for which a client may leave a response unread."""

log = structlog.get_logger(__name__)


class _RefusedError(Exception):
    """Raised in a parser callback: the connection accepts no further requests."""


class _Flow(FlowControl):
    """Flow control that does not resume while pipelined requests are waiting."""

    held = False

    def resume_reading(self) -> None:
        """Resume reading, unless it is held."""
        if not self.held:
            super().resume_reading()


class GuardedConnection(HttpToolsProtocol):
    """Uvicorn's protocol with limits on everything a connection sends, and a problem document for each refusal.

    A connection that sends nothing is closed silently on timeout, like one that is idle between requests.
    """

    head_timeout = timedelta(seconds=10)
    max_connections = 2000
    flow: _Flow

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head = 0
        """Bytes of an incomplete head."""
        self._parsed = 0
        """Bytes of the request line and headers reported by the parser."""
        self._body = 0
        """Bytes of the body of this request."""
        self._framing = 0
        """Bytes of this request that are neither head nor body."""
        self._unwanted = 0
        """Bytes received after a response or a refusal."""
        self._in_body = False
        self._offers_upgrade = False
        """The current head offers an upgrade: the parser stops after it, and it is parsed again without the offer."""
        self._error = ""
        """Why a callback stopped the parser; empty if the parser stopped by itself."""
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """A client has connected."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        if len(self.connections) > self.max_connections + SPARE:
            self._refused = True
            transport.abort()
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._disarm()
        self._stop(self._unread)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse the data in slices, and check the limits after each one."""
        self._unset_keepalive_if_required()
        view = memoryview(data)
        for start in range(0, len(data), SLICE):
            if self._refused:
                self._drop(len(data) - start)
                return
            self._take(view[start : start + SLICE])

    def _take(self, data: memoryview) -> None:
        in_head, body = not self._in_body, self._body
        if in_head:
            self._head += len(data)
            if self.cycle is None or self.cycle.response_complete:
                self._expect_head()
        self._parse(data)
        if self._refused or self.transport.is_closing():
            return
        if in_head and not self._in_body and self._head > MAX_HEAD:
            self._respond_with_error(ErrorCode.HEADERS_TOO_LARGE, DETAILS[ErrorCode.HEADERS_TOO_LARGE])
        elif not in_head and self._in_body:
            self._framing += len(data) - (self._body - body)
            if too_much_framing(framing=self._framing, body=self._body):
                self._respond_with_error(
                    ErrorCode.MALFORMED_REQUEST,
                    "The chunks of the body are too small, or their extensions or trailers are too long.",
                )
            elif self.cycle.response_complete:
                self._drop(len(data))

    def _parse(self, data: memoryview) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as pause:
            if not self._refused:
                self._parse_without_upgrade(data[pause.args[0] :])
        except httptools.HttpParserError:
            self._refuse_input()

    def _parse_without_upgrade(self, rest: memoryview) -> None:
        """Parse a head again without its upgrade offer, because the parser would skip the body after it."""
        head = without_upgrade(
            method=self.parser.get_method(),
            version=self.parser.get_http_version(),
            target=self.url,
            headers=self.headers,
        )
        self._offers_upgrade = False
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._parse(memoryview(head))
        if rest and not self._refused:
            self._parse(rest)

    def on_message_begin(self) -> None:
        """A request begins."""
        if len(self.pipeline) >= MAX_PIPELINED:
            self._refuse("Too many pipelined requests.")
        self._parsed = self._body = self._framing = self._unwanted = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """Part of the request target has arrived."""
        self._parsed += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or trailer has arrived. Trailers are dropped, so that they never pass for headers."""
        if self._in_body:
            return
        self._parsed += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete. Stop its timer, and refuse the request if necessary."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if self.parser.should_upgrade() and method != b"CONNECT":
            self._offers_upgrade = True
            return
        error = head_error(method=method, version=version, target=self.url, headers=self.headers)
        if error:
            self._refuse(error)
        if self._is_answering() and has_body(self.headers):
            self._refuse("A request with a body was sent before the response to the previous request.")
        self._disarm()
        self._head = 0
        if version == "1.0":
            self.expect_100_continue = False
        if self._parsed > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            self.scope["state"][REFUSAL] = ErrorCode.HEADERS_TOO_LARGE
        elif len(self.connections) > self.max_connections:
            self.scope["state"][REFUSAL] = ErrorCode.GATEWAY_BUSY
        super().on_headers_complete()
        self._in_body = True
        self.flow.held = bool(self.pipeline)
        if len(self.connections) > self.max_connections * 3 // 4:
            self.cycle.keep_alive = False  # idle connections must not use up the limit

    def on_body(self, body: bytes) -> None:
        """Part of the body has arrived."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request has been received."""
        if self._offers_upgrade:
            return
        self._in_body = False
        if self.cycle.response_complete:
            self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """The response has been sent. The rest of an unread body must arrive within the head timeout."""
        self.flow.held = len(self.pipeline) > 1
        super().on_response_complete()
        if self._in_body and self._timer is None:
            self._timer = self.loop.call_later(self.head_timeout.total_seconds(), self.transport.close)
        elif self._head and not self._is_answering():
            self._expect_head()

    def send_400_response(self, msg: str) -> None:
        """Replace uvicorn's own response to bytes that are not HTTP."""
        del msg
        self._refuse_input()

    def pause_writing(self) -> None:
        """The client does not read the response."""
        super().pause_writing()
        self._stop(self._unread)
        self._unread = self.loop.call_later(UNREAD, self.transport.abort)

    def resume_writing(self) -> None:
        """The client reads again."""
        self._stop(self._unread)
        super().resume_writing()

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: str) -> None:
        self._error = error
        raise _RefusedError

    def _refuse_input(self) -> None:
        if not self.transport.is_closing():
            self._respond_with_error(ErrorCode.MALFORMED_REQUEST, self._error or "The request is not valid HTTP/1.1.")

    def _drop(self, size: int) -> None:
        """Count discarded bytes."""
        self._unwanted += size
        if self._unwanted > UNWANTED:
            self.transport.abort()

    def _expect_head(self) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(self.head_timeout.total_seconds(), self._head_is_late)

    def _disarm(self) -> None:
        self._stop(self._timer)
        self._timer = None

    @staticmethod
    def _stop(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()

    def _head_is_late(self) -> None:
        if self.transport.is_closing():
            return
        if self._head:
            self._respond_with_error(ErrorCode.REQUEST_TIMEOUT, "The request headers did not arrive in time.")
        else:
            self.transport.close()

    def _respond_with_error(self, code: ErrorCode, detail: str) -> None:
        """Refuse an incomplete request, then close. Earlier requests get their responses first."""
        self._disarm()
        self._refused = True
        if self._is_answering():
            if not self._in_body:
                self.cycle.keep_alive = False  # the newest request: the connection closes after its response
                return
            if self.cycle.response_started or self.pipeline:
                self.transport.close()  # a second response would corrupt the one being sent
                return
            self.cycle.disconnected = True  # the reader of this body learns that it is incomplete
            self.cycle.message_event.set()
        request_id = f"req_{secrets.token_hex(12)}"
        scope: Scope = {"type": "http", "state": {"request_id": request_id}}
        response = problem(code, detail, scope=scope, headers={"Connection": "close", "X-Request-ID": request_id})
        log.info("line.refused", code=code.value, request_id=request_id)
        head = b"".join(b"%b: %b\r\n" % pair for pair in response.raw_headers)
        self.transport.write(b"HTTP/1.1 %d \r\n" % response.status_code + head + b"\r\n" + bytes(response.body))
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)


def guarded(*, head_timeout: timedelta, max_connections: int) -> type[GuardedConnection]:
    """Return the protocol class for uvicorn with these limits."""
    limits = {"head_timeout": head_timeout, "max_connections": max_connections}
    return type("LimitedConnection", (GuardedConnection,), limits)

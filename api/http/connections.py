"""One client connection below the application: limits on heads, framing, pipelining, time and number."""

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
"""Bytes of a request's line and headers together."""
MAX_HEADERS: Final = 100
MAX_PIPELINED: Final = 8
"""Requests without a body that may wait behind the one being answered."""
SLICE: Final = 64 * 1024
"""Bytes parsed between two checks of the limits; the transport may hand over 256 KiB at once."""
UNWANTED: Final = 64 * 1024 * 1024
"""Bytes of a body that are read and dropped after its request was answered."""
SPARE: Final = 64
"""Connections beyond the limit that are still told why they are refused; the next ones are reset."""
LINGER: Final = 1.0
"""Seconds for which input is dropped after a refusal, so that the client reads the answer instead of a reset."""
UNREAD: Final = 60.0
"""Seconds that a client may leave an answer unread."""

log = structlog.get_logger(__name__)


class _RefusedError(Exception):
    """Raised in a parser callback: the connection takes no further request."""


class _Flow(FlowControl):
    """Flow control that does not resume while requests wait in the pipeline."""

    held = False

    def resume_reading(self) -> None:
        """Read on, unless reading is held."""
        if not self.held:
            super().resume_reading()


class GuardedConnection(HttpToolsProtocol):
    """Uvicorn's protocol with a limit for every byte of a connection, and a problem document for each refusal.

    A connection that sends nothing is closed silently when its time is up, like one that is idle between requests.
    """

    head_timeout = timedelta(seconds=10)
    most = 2000
    """Connections at once."""
    flow: _Flow

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head = 0
        """Bytes of a head that is not complete yet."""
        self._parsed = 0
        """Bytes of this request's line and headers that the parser has reported."""
        self._body = 0
        """Bytes of this request's body."""
        self._framing = 0
        """Bytes of this request that are neither head nor body."""
        self._unwanted = 0
        """Bytes that came after an answer or a refusal."""
        self._in_body = False
        self._offers_upgrade = False
        """The head in hand offers an upgrade: the parser stops behind it, and the head is parsed again without."""
        self._error = ""
        """Why the parser was stopped, where that was not its own decision."""
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """A client has connected."""
        super().connection_made(transport)
        self.flow = _Flow(transport)
        if len(self.connections) > self.most + SPARE:
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
        """Parse in slices, and check the limits after each one."""
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
            self._answer(ErrorCode.HEADERS_TOO_LARGE, DETAILS[ErrorCode.HEADERS_TOO_LARGE])
        elif not in_head and self._in_body:
            self._framing += len(data) - (self._body - body)
            if too_much_framing(framing=self._framing, body=self._body):
                self._answer(
                    ErrorCode.MALFORMED_REQUEST,
                    "The chunks of the body are too small, or their extensions or trailers too long.",
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
        """Parse a head again without the upgrade that it offers: the parser would skip the body behind it."""
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
        """A piece of the request target."""
        self._parsed += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer: those are dropped, so that they never pass for headers."""
        if self._in_body:
            return
        self._parsed += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is complete: its time is over, and whether the request is refused is known."""
        method, version = self.parser.get_method(), self.parser.get_http_version()
        if self.parser.should_upgrade() and method != b"CONNECT":
            self._offers_upgrade = True
            return
        error = head_error(method=method, version=version, target=self.url, headers=self.headers)
        if error:
            self._refuse(error)
        if self._is_answering() and has_body(self.headers):
            self._refuse("A request with a body was sent before the previous request was answered.")
        self._disarm()
        self._head = 0
        if version == "1.0":
            self.expect_100_continue = False
        if self._parsed > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            self.scope["state"][REFUSAL] = ErrorCode.HEADERS_TOO_LARGE
        elif len(self.connections) > self.most:
            self.scope["state"][REFUSAL] = ErrorCode.GATEWAY_BUSY
        super().on_headers_complete()
        self._in_body = True
        self.flow.held = bool(self.pipeline)
        if len(self.connections) > self.most * 3 // 4:
            self.cycle.keep_alive = False  # idle connections must not take the room of others

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
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
        """The answer is out. What remains of a body that nobody wanted gets the time of a head."""
        self.flow.held = len(self.pipeline) > 1
        super().on_response_complete()
        if self._in_body and self._timer is None:
            self._timer = self.loop.call_later(self.head_timeout.total_seconds(), self.transport.close)
        elif self._head and not self._is_answering():
            self._expect_head()

    def send_400_response(self, msg: str) -> None:
        """Uvicorn's own answer to bytes that are not HTTP."""
        del msg
        self._refuse_input()

    def pause_writing(self) -> None:
        """The client does not read."""
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
            self._answer(ErrorCode.MALFORMED_REQUEST, self._error or "The request is not valid HTTP/1.1.")

    def _drop(self, size: int) -> None:
        """Count bytes that nobody reads."""
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
            self._answer(ErrorCode.REQUEST_TIMEOUT, "The request headers did not arrive in time.")
        else:
            self.transport.close()

    def _answer(self, code: ErrorCode, detail: str) -> None:
        """Refuse what is not a complete request, then close; requests ahead of it are answered first."""
        self._disarm()
        self._refused = True
        if self._is_answering():
            if not self._in_body:
                self.cycle.keep_alive = False  # the newest one: the connection closes behind its answer
                return
            if self.cycle.response_started or self.pipeline:
                self.transport.close()  # a second answer would run into the one on its way
                return
            self.cycle.disconnected = True  # whoever reads this body hears that no more of it comes
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


def guarded(*, head_timeout: timedelta, most: int) -> type[GuardedConnection]:
    """The protocol with these limits, as uvicorn takes it."""
    return type("LimitedConnection", (GuardedConnection,), {"head_timeout": head_timeout, "most": most})

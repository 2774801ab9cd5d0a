"""One client's line, before there is a request to speak of: how long its head may be and take, and how many lines."""

import asyncio
import secrets
from datetime import timedelta
from typing import Any, Final

import structlog
from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from api.problems import problem
from api.uploads import DETAILS, REFUSAL
from shared.errors import ErrorCode

MAX_HEAD: Final = 32 * 1024
"""Bytes of a request's line and headers together."""
MAX_HEADERS: Final = 100
SPARE: Final = 64
"""Lines beyond the limit that still hear why they are refused; the next ones are cut without a word."""
LINGER: Final = 1.0
"""Seconds in which what a refused client still sends is swallowed, so that it gets to see the answer."""
UNREAD: Final = 60.0
"""Seconds that a client may leave an answer unread."""

log = structlog.get_logger(__name__)


class Line(HttpToolsProtocol):
    """Uvicorn's protocol with what it lacks: a time and a length for heads, an answer for all that is no request.

    A line that sends nothing is closed without a word when its time is up, as one that is idle between requests.
    """

    head_timeout = timedelta(seconds=10)
    most = 2000
    """Lines at once."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self._timer: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._head = 0
        """Bytes of a head that is not whole yet."""
        self._parsed = 0
        """Bytes of this request's line and headers, as far as they are known."""
        self._in_body = False
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """A client is there."""
        super().connection_made(transport)
        if len(self.connections) > self.most + SPARE:
            self._refused = True
            transport.abort()
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It has left."""
        self._disarm()
        self._stop(self._unread)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Bytes came: a head in pieces is counted before it can grow."""
        if self._refused:
            return
        heading = not self._in_body
        if heading:
            self._head += len(data)
            if self.cycle is None or self.cycle.response_complete:
                self._expect_head()
        super().data_received(data)
        if heading and not self._in_body and self._head > MAX_HEAD and not self.transport.is_closing():
            self._answer(ErrorCode.HEADERS_TOO_LARGE, DETAILS[ErrorCode.HEADERS_TOO_LARGE])

    def on_message_begin(self) -> None:
        """A request begins."""
        self._parsed = 0
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A piece of its address."""
        self._parsed += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One of its headers."""
        self._parsed += len(name) + len(value) + 4
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Its head is there: the time for it is over, and whether it is refused is known."""
        self._disarm()
        self._head, self._in_body = 0, True
        if self._parsed > MAX_HEAD or len(self.headers) > MAX_HEADERS:
            self.scope["state"][REFUSAL] = ErrorCode.HEADERS_TOO_LARGE
        elif len(self.connections) > self.most:
            self.scope["state"][REFUSAL] = ErrorCode.GATEWAY_BUSY
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body is there, too."""
        self._in_body = False
        if self.cycle.response_complete:
            self._disarm()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered. Where nobody wanted its body, what is left of that has as long as a head."""
        super().on_response_complete()
        if self._in_body and self._timer is None:
            self._timer = self.loop.call_later(self.head_timeout.total_seconds(), self.transport.close)

    def send_400_response(self, msg: str) -> None:
        """What came is no HTTP."""
        del msg
        self._answer(ErrorCode.MALFORMED_REQUEST, "What was sent is no HTTP/1.1 request.")

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        self._stop(self._unread)
        self._unread = self.loop.call_later(UNREAD, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads again."""
        self._stop(self._unread)
        super().resume_writing()

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
            self._answer(ErrorCode.REQUEST_TIMEOUT, "The head of the request did not come in time.")
        else:
            self.transport.close()

    def _answer(self, code: ErrorCode, detail: str) -> None:
        """Say what is wrong where there is no request, then close."""
        self._disarm()
        self._refused = True
        if self.cycle is not None and not self.cycle.response_complete:
            if self.cycle.response_started or not self._in_body:
                self.transport.close()  # another answer is on its way; a second one would run into it
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


def guarded(*, head_timeout: timedelta, most: int) -> type[Line]:
    """The protocol with these limits, as uvicorn takes it."""
    return type("GuardedLine", (Line,), {"head_timeout": head_timeout, "most": most})

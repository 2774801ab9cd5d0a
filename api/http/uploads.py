"""Limits on request bodies: total bytes in memory, and the minimum rate of each upload."""

import asyncio
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.http.middleware import QUIET, refuse_unread
from shared.errors import ErrorCode

REFUSAL: Final = "refusal"
"""Key in the request state. The connection stores an error code there to refuse the request."""
PAUSE: Final = timedelta(seconds=2)
"""`Retry-After` when the gateway is busy."""
DETAILS: Final = {
    ErrorCode.GATEWAY_BUSY: "The gateway has reached its connection limit.",
    ErrorCode.HEADERS_TOO_LARGE: "The request has too many headers, or they are too long.",
}


class _SlowError(Exception):
    """The body arrives too slowly. No handler catches it, so that it reaches `Uploads`."""


class _FullError(Exception):
    """The budget of all request bodies has no room for this one."""


class Uploads:
    """Limits the bytes of all bodies in memory to a budget, and enforces a minimum rate for each body.

    Args:
        app: the next application.
        budget: bytes of all bodies in memory; a body counts until its request is answered.
        grace: how long a body of any size may take.
        rate: minimum average rate after the grace period, in bytes per second.
        clock: a monotonic clock, in seconds.
    """

    def __init__(
        self, app: ASGIApp, *, budget: int, grace: timedelta, rate: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._app = app
        self.budget = budget
        self.grace = grace.total_seconds()
        self.rate = rate
        self.clock = clock
        self.held = 0
        """Bytes of bodies currently in memory."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = scope.get("state", {}).get(REFUSAL)
        if refusal and not (refusal is ErrorCode.GATEWAY_BUSY and scope["path"] in QUIET):
            await _refuse(refusal, DETAILS[refusal], scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        # A body larger than the whole budget never fits; `BodyLimit` refuses it with a permanent error.
        if declared.isdigit() and self.budget - self.held < int(declared) <= self.budget and self.held:
            await self._refuse_full(scope, receive, send)
            return
        await self._take(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(self, receive)
        response_started = False

        async def tracked_send(message: Message) -> None:
            nonlocal response_started
            response_started = True
            await send(message)

        try:
            await self._app(scope, body.receive, tracked_send)
        except (_SlowError, _FullError) as error:
            if response_started:  # too late for an error response; close the connection
                raise ClientDisconnect from error
            body.release()
            if isinstance(error, _FullError):
                await self._refuse_full(scope, receive, send)
            else:
                detail = f"The body arrived at less than {self.rate} bytes per second."
                await _refuse(ErrorCode.REQUEST_TIMEOUT, detail, scope, receive, send, drain=False)
        finally:
            body.release()

    async def _refuse_full(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = "The gateway has no room for another request body."
        await _refuse(ErrorCode.GATEWAY_BUSY, detail, scope, receive, send)


class _Body:
    """One body while it arrives: counts against the shared budget and must keep the minimum rate."""

    def __init__(self, uploads: Uploads, receive: Receive) -> None:
        self._uploads = uploads
        self._receive = receive
        self._received = 0
        self._waited = 0.0
        self._complete = False

    async def receive(self) -> Message:
        """Receive the next message from the client.

        Raises:
            _SlowError: the body arrives too slowly.
            _FullError: the budget has no room for it.
        """
        if self._complete:  # further messages only report a disconnect
            return await self._receive()
        uploads = self._uploads
        began = uploads.clock()
        try:
            async with asyncio.timeout(max(0.0, uploads.grace + self._received / uploads.rate - self._waited)):
                message = await self._receive()
        except TimeoutError:
            raise _SlowError from None
        self._waited += uploads.clock() - began
        size = len(message.get("body", b""))
        self._received += size
        uploads.held += size
        if uploads.held > uploads.budget and uploads.held > self._received:
            raise _FullError
        self._complete = not message.get("more_body", False)
        return message

    def release(self) -> None:
        """Return this body's bytes to the budget. Safe to call twice."""
        self._uploads.held -= self._received
        self._received = 0


async def _refuse(
    code: ErrorCode, detail: str, scope: Scope, receive: Receive, send: Send, *, drain: bool = True
) -> None:
    pause = PAUSE if code is ErrorCode.GATEWAY_BUSY else None
    await refuse_unread(code, detail, scope=scope, receive=receive, send=send, retry_after=pause, drain=drain)

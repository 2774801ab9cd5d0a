"""How bodies may arrive: not too many bytes at once, and none so slowly that it is no honest upload."""

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
"""The key of a request's state under which the line notes why it is to be refused whatever it asks for."""
PAUSE: Final = timedelta(seconds=2)
"""When to come back where there was no room."""
DETAILS: Final = {
    ErrorCode.GATEWAY_BUSY: "The gateway has reached its connection limit.",
    ErrorCode.HEADERS_TOO_LARGE: "The request has too many headers, or they are too long.",
}


class _SlowError(Exception):
    """The body came too slowly; unknown to every handler, so that it gets up to `Uploads`."""


class _FullError(Exception):
    """The bodies of all requests together have no room for this one."""


class Uploads:
    """Counts the bytes of all bodies in memory against one budget, and the time that each one keeps us waiting.

    Args:
        app: what is asked once there is room.
        budget: bytes of bodies that requests in hand may have together; they count until their answer is out.
        grace: how long a body may keep us waiting whatever its size.
        rate: bytes a second that it must bring on average beyond that.
        clock: seconds of a steady clock.
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
        """Bytes of bodies in memory now."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = scope.get("state", {}).get(REFUSAL)
        if refusal and not (refusal is ErrorCode.GATEWAY_BUSY and scope["path"] in QUIET):
            await _refuse(refusal, DETAILS[refusal], scope, receive, send)
            return
        declared = Headers(scope=scope).get("content-length", "")
        # One that would never fit is no matter of room: the limit of its call refuses it for good.
        if declared.isdigit() and self.budget - self.held < int(declared) <= self.budget and self.held:
            await self._refuse_full(scope, receive, send)
            return
        await self._take(scope, receive, send)

    async def _take(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = _Body(self, receive)
        answered = False

        async def noted(message: Message) -> None:
            nonlocal answered
            answered = True
            await send(message)

        try:
            await self._app(scope, body.receive, noted)
        except (_SlowError, _FullError) as error:
            if answered:  # half an answer is out; the connection is cut
                raise ClientDisconnect from error
            body.release()
            if isinstance(error, _FullError):
                await self._refuse_full(scope, receive, send)
            else:
                detail = f"The body arrived too slowly: less than {self.rate} bytes a second."
                await _refuse(ErrorCode.REQUEST_TIMEOUT, detail, scope, receive, send, drain=False)
        finally:
            body.release()

    async def _refuse_full(self, scope: Scope, receive: Receive, send: Send) -> None:
        detail = "The gateway has no room for another request body."
        await _refuse(ErrorCode.GATEWAY_BUSY, detail, scope, receive, send)


class _Body:
    """One body as it comes in: counted against the budget of all, and held to its pace."""

    def __init__(self, uploads: Uploads, receive: Receive) -> None:
        self._uploads = uploads
        self._receive = receive
        self._taken = 0
        self._waited = 0.0
        self._whole = False

    async def receive(self) -> Message:
        """The next message of the client.

        Raises:
            _SlowError: the body comes too slowly.
            _FullError: there is no room for it.
        """
        if self._whole:  # what comes now is only whether the client is still there
            return await self._receive()
        uploads = self._uploads
        began = uploads.clock()
        try:
            async with asyncio.timeout(max(0.0, uploads.grace + self._taken / uploads.rate - self._waited)):
                message = await self._receive()
        except TimeoutError:
            raise _SlowError from None
        self._waited += uploads.clock() - began
        size = len(message.get("body", b""))
        self._taken += size
        uploads.held += size
        if uploads.held > uploads.budget and uploads.held > self._taken:
            raise _FullError
        self._whole = not message.get("more_body", False)
        return message

    def release(self) -> None:
        """Give back the room that this body takes; once is enough."""
        self._uploads.held -= self._taken
        self._taken = 0


async def _refuse(
    code: ErrorCode, detail: str, scope: Scope, receive: Receive, send: Send, *, drain: bool = True
) -> None:
    pause = PAUSE if code is ErrorCode.GATEWAY_BUSY else None
    await refuse_unread(code, detail, scope=scope, receive=receive, send=send, retry_after=pause, drain=drain)

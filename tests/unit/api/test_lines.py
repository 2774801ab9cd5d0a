"""A line is cut where its client does not read, and where there are far too many; real sockets try the rest."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from api import lines
from api.lines import SPARE, Line, guarded


class Wire(asyncio.Transport):
    """A transport that remembers what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed or self.aborted

    def can_write_eof(self) -> bool:
        return False

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


async def app(_: Scope, __: Receive, send: Send) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def with_line(try_it: Callable[[Line, Wire], Awaitable[None]], *, others: int = 0, most: int = 5) -> None:
    async def run() -> None:
        guard = guarded(head_timeout=timedelta(seconds=0.02), most=most)
        config = uvicorn.Config(app, http=guard, log_config=None)
        config.load()
        state = ServerState()
        state.connections.update(_others(others))
        line = guard(config=config, server_state=state, app_state={})
        wire = Wire()
        line.connection_made(wire)
        await try_it(line, wire)
        line.connection_lost(None)

    asyncio.run(run())


def _others(count: int) -> list[Any]:
    return [object() for _ in range(count)]


def test_a_client_that_does_not_read_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    async def try_it(line: Line, wire: Wire) -> None:
        line.pause_writing()
        await asyncio.sleep(0.01)
        line.resume_writing()
        await asyncio.sleep(0.03)
        assert not wire.aborted
        line.pause_writing()
        await asyncio.sleep(0.04)
        assert wire.aborted

    monkeypatch.setattr(lines, "UNREAD", 0.02)
    with_line(try_it)


@pytest.mark.parametrize(("others", "cut"), [(SPARE + 4, False), (SPARE + 5, True)])
def test_lines_far_beyond_the_limit_are_cut_without_a_word(others: int, cut: bool) -> None:
    async def try_it(line: Line, wire: Wire) -> None:
        del line
        assert (wire.aborted, wire.written) == (cut, b"")

    with_line(try_it, others=others)


def test_a_line_that_says_nothing_is_closed_and_one_that_begins_hears_why() -> None:
    async def silent(line: Line, wire: Wire) -> None:
        del line
        await asyncio.sleep(0.04)
        assert (wire.closed, wire.written) == (True, b"")

    async def begun(line: Line, wire: Wire) -> None:
        line.data_received(b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.04)
        assert wire.written.startswith(b"HTTP/1.1 408 ")

    with_line(silent)
    with_line(begun)


def test_a_head_behind_a_long_answer_is_counted_too() -> None:
    async def try_it(line: Line, wire: Wire) -> None:
        line.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        line.data_received(b"GET / HTTP/1.1\r\nX-A: ")
        for _ in range(5):
            line.data_received(b"y" * 10_000)
        assert wire.closed

    with_line(try_it)


def test_a_whole_request_is_answered() -> None:
    async def try_it(line: Line, wire: Wire) -> None:
        line.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.01)
        assert wire.written.startswith(b"HTTP/1.1 200 ")

    with_line(try_it)

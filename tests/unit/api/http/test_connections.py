"""Connections: limits and refusals, most of them over real sockets."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from api.http import connections
from api.http.connections import MAX_PIPELINED, SPARE, GuardedConnection, guarded
from tests.clock import run as run_with_made_clock


class Wire(asyncio.Transport):
    """A transport that remembers what was done to it."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False
        self.closed = False
        self.cut = False
        """Whether it was closed before the client left."""

    @property
    def statuses(self) -> list[int]:
        """The status of each answer, in order."""
        return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d+) ", self.written)]

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


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the whole body and repeats method, headers and body length."""
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size += len(message["body"])
        more = message["more_body"]
    headers = [[name.decode(), value.decode()] for name, value in scope["headers"]]
    body = json.dumps({"method": scope["method"], "headers": headers, "size": size}).encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": 200, "headers": [length]})
    await send({"type": "http.response.body", "body": body})


def with_line(try_it: Callable[[GuardedConnection, Wire], Awaitable[None]], *, others: int = 0, most: int = 5) -> None:
    async def run() -> None:
        guard = guarded(head_timeout=timedelta(seconds=0.02), max_connections=most)
        config = uvicorn.Config(app, http=guard, log_config=None)
        config.load()
        state = ServerState()
        state.connections.update(_others(others))
        line = guard(config=config, server_state=state, app_state={})
        wire = Wire()
        line.connection_made(wire)
        await try_it(line, wire)
        line.connection_lost(None)

    run_with_made_clock(run())


def _others(count: int) -> list[Any]:
    return [object() for _ in range(count)]


def test_a_client_that_does_not_read_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    async def try_it(line: GuardedConnection, wire: Wire) -> None:
        line.pause_writing()
        await asyncio.sleep(0.01)
        line.resume_writing()
        await asyncio.sleep(0.03)
        assert not wire.aborted
        line.pause_writing()
        await asyncio.sleep(0.04)
        assert wire.aborted

    monkeypatch.setattr(connections, "UNREAD", 0.02)
    with_line(try_it)


@pytest.mark.parametrize(("others", "cut"), [(SPARE + 4, False), (SPARE + 5, True)])
def test_connections_far_above_the_limit_are_reset(others: int, cut: bool) -> None:
    async def try_it(line: GuardedConnection, wire: Wire) -> None:
        del line
        assert (wire.aborted, wire.written) == (cut, b"")

    with_line(try_it, others=others)


def test_an_idle_connection_is_closed_and_an_incomplete_head_gets_an_error() -> None:
    async def silent(line: GuardedConnection, wire: Wire) -> None:
        del line
        await asyncio.sleep(0.04)
        assert (wire.closed, wire.written) == (True, b"")

    async def begun(line: GuardedConnection, wire: Wire) -> None:
        line.data_received(b"GET / HTTP/1.1\r\n")
        await asyncio.sleep(0.04)
        assert wire.written.startswith(b"HTTP/1.1 408 ")

    with_line(silent)
    with_line(begun)


def test_a_head_after_a_long_response_is_counted() -> None:
    async def try_it(line: GuardedConnection, wire: Wire) -> None:
        line.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        line.data_received(b"GET / HTTP/1.1\r\nX-A: ")
        for _ in range(5):
            line.data_received(b"y" * 10_000)
        await asyncio.sleep(0.01)
        assert wire.statuses == [200]
        assert wire.closed

    with_line(try_it)


def test_a_complete_request_gets_a_response() -> None:
    async def try_it(line: GuardedConnection, wire: Wire) -> None:
        line.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.01)
        assert wire.written.startswith(b"HTTP/1.1 200 ")

    with_line(try_it)


HOST = b"Host: x\r\n"
CHUNKED = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"


def answered(sent: bytes, *, piece: int = 0) -> Wire:
    """What a connection answers to these bytes, received at once or in pieces."""
    wires: list[Wire] = []

    async def try_it(line: GuardedConnection, wire: Wire) -> None:
        wires.append(wire)
        for start in range(0, len(sent), piece or len(sent)):
            if not wire.is_closing():
                line.data_received(sent[start : start + (piece or len(sent))])
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        wire.cut = wire.is_closing()

    with_line(try_it)
    return wires[0]


def bodies(wire: Wire) -> list[dict[str, Any]]:
    return [json.loads(text) for text in re.findall(rb"\{.*?\}(?=HTTP/|$)", wire.written)]


@pytest.mark.parametrize("piece", [0, 1, 7])
@pytest.mark.parametrize(
    ("offer", "kept"),
    [
        (b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n", []),
        (b"Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n", [["connection", "keep-alive"]]),
        (b"Upgrade: TLS/1.0\r\nConnection: upgrade\r\n", []),
    ],
    ids=["h2c", "websocket", "tls"],
)
@pytest.mark.parametrize(
    "body", [b"Content-Length: 5\r\n\r\nabcde", b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n"]
)
def test_an_offered_upgrade_is_ignored_and_the_body_kept(
    offer: bytes, kept: list[list[str]], body: bytes, piece: int
) -> None:
    request = b"POST /v1/jobs HTTP/1.1\r\n" + HOST + offer + body
    wire = answered(request + b"GET / HTTP/1.1\r\n" + HOST + b"\r\n", piece=piece)
    assert wire.statuses[0] == 200
    first = bodies(wire)[0]
    assert (first["method"], first["size"]) == ("POST", 5)
    names = {"connection", "upgrade", "http2-settings"}
    assert [header for header in first["headers"] if header[0] in names] == kept
    if piece:  # received at once, the second one may come before the first is answered, which is refused for bodies
        assert wire.statuses == [200, 200]


def test_an_upgrade_inside_a_body_is_body() -> None:
    inner = b"GET /v1/audit HTTP/1.1\r\nHost: x\r\n\r\n"
    offer = b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(inner)
    wire = answered(b"POST / HTTP/1.1\r\n" + HOST + offer + inner)
    assert [body["size"] for body in bodies(wire)] == [len(inner)]


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.1\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n",
        b"GET / HTTP/1.0\r\nHost: x\r\nHost: y\r\n",
        b"GET / HTTP/1.1\r\nHost:\r\n",
        b"GET / HTTP/1.1\r\nHost: a b\r\n",
        b"GET / HTTP/1.1\r\nHost: a/b\r\n",
        b"GET / HTTP/1.1\r\nHost: a@b\r\n",
        b"GET http://y/ HTTP/1.1\r\nHost: x\r\n",
        b"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n",
        b"GET http://[::1 HTTP/1.1\r\nHost: x\r\n",
        b"GET / HTTP/2.0\r\nHost: x\r\n",
        b"GET / HTTP/0.9\r\nHost: x\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n",
        b"CONNECT x:80 HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n",
        b"PRI * HTTP/2.0\r\n",
        b"GET / HTTP/1.1\nHost: x\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\rX-B: c\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A: b\r\n c\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX-A : b\r\n",
        b"GET / HTTP/1.1\r\n Host: x\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n",
        b"POST / HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_an_ambiguous_head_is_refused(head: bytes) -> None:
    wire = answered(head + b"\r\n0\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wire.statuses == [400]
    assert b'"malformed_request"' in wire.written


@pytest.mark.parametrize(
    "head",
    [
        b"GET / HTTP/1.0\r\n",
        b"GET / HTTP/1.1\r\nHost: my_service:8000\r\n",
        b"GET / HTTP/1.1\r\nHost: [::1]:8000\r\n",
        b"GET http://X/ HTTP/1.1\r\nHost: x\r\n",
    ],
)
def test_an_unambiguous_head_is_accepted(head: bytes) -> None:
    assert answered(head + b"\r\n").statuses == [200]


def test_trailers_are_never_headers() -> None:
    wire = answered(CHUNKED + b"1\r\na\r\n0\r\nX-API-Key: stolen\r\nHost: y\r\n\r\n", piece=10)
    assert bodies(wire)[0]["headers"] == [["host", "x"], ["transfer-encoding", "chunked"]]


ENDLESS = {
    "a trailer": (b"0\r\nX-T: ", b"y" * 1000),
    "many trailers": (b"0\r\n", b"X-Trailer: y\r\n" * 70),
    "a trailer's name": (b"0\r\nX", b"y" * 1000),
    "an extension": (b"1;a=", b"y" * 1000),
    "many extensions": (b"", b"1;" + b"y" * 100 + b"\r\na\r\n"),
    "chunks of one byte": (b"", b"1\r\na\r\n" * 100),
    "zeros before a size": (b"", b"0" * 1000),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_framing_is_limited(name: str) -> None:
    begin, more = ENDLESS[name]
    wire = answered(CHUNKED + begin + more * 1000, piece=4096)
    assert wire.statuses == [400]
    assert b'"malformed_request"' in wire.written


def test_framing_received_in_one_piece_is_limited() -> None:
    assert answered(CHUNKED + b"0\r\nX-T: " + b"y" * 256 * 1024).statuses == [400]


def test_small_chunks_and_short_trailers_are_accepted() -> None:
    chunks = b"40\r\n" + b"x" * 64 + b"\r\n"
    wire = answered(CHUNKED + chunks * 10_000 + b"0\r\nX-Checksum: abc\r\n\r\n", piece=4096)
    assert [body["size"] for body in bodies(wire)] == [640_000]


def test_only_a_few_requests_may_be_pipelined() -> None:
    get = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"
    few = answered(get * 5)
    assert (few.statuses, few.cut) == ([200] * 5, False)
    many = answered(get * 5000)
    assert (many.statuses, many.cut) == ([200] * (MAX_PIPELINED + 1), True)
    assert many.written.count(b"connection: close") == 1


def test_a_pipelined_body_is_never_buffered() -> None:
    upload = b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 1000\r\n\r\n" + b"x" * 1000
    wire = answered(upload * 150)
    assert (wire.statuses, wire.cut) == ([200], True)


def test_garbage_after_a_request_does_not_prevent_its_response() -> None:
    wire = answered(b"GET / HTTP/1.1\r\n" + HOST + b"\r\nnoise\r\n\r\n")
    assert (wire.statuses, wire.cut) == ([200], True)


def test_connections_close_after_a_response_near_the_limit() -> None:
    async def try_it(line: GuardedConnection, wire: Wire) -> None:
        line.data_received(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await asyncio.sleep(0.01)
        assert b"connection: close" in wire.written

    with_line(try_it, others=3)

"""The gateway's memory while connections send bytes that are neither head nor body, or endless requests."""

import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, repeat
from typing import Final

import numpy as np
import pytest

from api.http.connections import MAX_PIPELINED
from tests.chaos.census import usage
from tests.corpus.exchanges import HOST, post
from tests.pictures import encoded, one_face
from tests.security.speaking import ask
from tests.stacks import FAKE, serving
from tools.ports import LOOPBACK
from tools.stack import Stack

MOST_SENT: Final = 64 * 1024 * 1024
"""Bytes that one attack sends unless it is stopped."""
MOST_GROWTH: Final = 48.0
"""MiB that the gateway may grow by meanwhile; docs/security.md has the bound for any number of connections."""
LIVEZ: Final = b"GET /livez HTTP/1.1\r\n" + HOST + b"\r\n"
CHUNKED: Final = b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
FACE: Final = encoded(one_face())
CLOSE: Final = b"Connection: close\r\n"
FORM: Final = (
    b'--b\r\nContent-Disposition: form-data; name="operation"\r\n\r\ndetect\r\n'
    b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + FACE + b"\r\n--b--\r\n"
)
JOB: Final = post("/v1/jobs", FORM, b"multipart/form-data; boundary=b")
WAIT: Final = b"GET /v1/jobs/%b?wait=30 HTTP/1.1\r\n" + HOST + b"\r\n"
CROWD: Final = 100
MOST_OF_ONE: Final = 0.4
"""MiB of one connection: a head, a read of the transport, an unread body, and its request."""
EVENTS: Final = b"GET /v1/jobs/%b/events HTTP/1.1\r\n" + HOST + b"\r\n"
UPLOAD: Final = post("/v1/jobs", b"x" * 400_000, b"multipart/form-data; boundary=b").replace(CLOSE, b"")
ATTACKS: Final[dict[str, Callable[[], Iterator[bytes]]]] = {
    "one endless trailer": lambda: chain([CHUNKED + b"0\r\nX-T: "], repeat(b"y" * 65_536)),
    "endless trailers": lambda: chain([CHUNKED + b"0\r\n"], repeat(b"X-Trailer: yyyyyyyy\r\n" * 3000)),
    "one endless extension": lambda: chain([CHUNKED + b"1;a="], repeat(b"y" * 65_536)),
    "long extensions": lambda: chain([CHUNKED], repeat(b"1;a=" + b"y" * 60_000 + b"\r\na\r\n")),
    "chunks of one byte": lambda: chain([CHUNKED], repeat(b"1\r\na\r\n" * 10_000)),
    "pipelined requests": lambda: repeat(LIVEZ * 1000),
}


@dataclass
class Attack:
    """Sends on its own thread until it is stopped or everything was sent."""

    port: int
    pieces: Iterator[bytes]
    sent: int = 0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        with suppress(OSError), socket.create_connection((LOOPBACK, self.port), timeout=10) as line:
            threading.Thread(target=self._read, args=(line,), daemon=True).start()
            for piece in self.pieces:
                line.sendall(piece)
                self.sent += len(piece)
                if self.sent >= MOST_SENT:
                    break
        self.over.set()

    @staticmethod
    def _read(line: socket.socket) -> None:
        with suppress(OSError):
            while line.recv(65_536):
                pass


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("memory"), FAKE) as running:
        for _ in range(50):  # what every process allocates once is not growth
            assert ask(running.port, LIVEZ.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")).status == 200
        yield running


def megabytes(stack: Stack) -> float:
    used = usage(stack.gateway.pid)
    if used is None:
        pytest.skip("resident memory is read from /proc")
    return used.megabytes


def hold_against(stack: Stack, pieces: Iterator[bytes]) -> None:
    """Attack, and check that probes are answered meanwhile and that memory stays within its bound."""
    before = peak = megabytes(stack)
    attack = Attack(stack.port, pieces)
    threading.Thread(target=attack.run, daemon=True).start()
    answers = 0
    while answers < 5 or not attack.over.wait(0.05):
        assert ask(stack.port, LIVEZ, patience=10).status == 200
        answers += 1
        peak = max(peak, megabytes(stack))
    assert peak - before < MOST_GROWTH, f"{peak - before:.0f} MiB for {attack.sent >> 20} MiB sent"


@pytest.mark.parametrize("name", ATTACKS)
def test_no_byte_of_a_connection_escapes_every_limit(stack: Stack, name: str) -> None:
    hold_against(stack, ATTACKS[name]())


def test_uploads_after_a_stream_are_not_buffered(stack: Stack) -> None:
    stack.workers[0].signal(signal.SIGSTOP)  # so that the stream stays open
    try:
        job = json.loads(ask(stack.port, JOB).body)["id"].encode()
        hold_against(stack, chain([EVENTS % job], repeat(UPLOAD, 160)))
    finally:
        stack.workers[0].signal(signal.SIGCONT)


@pytest.mark.parametrize(
    "more",
    [LIVEZ * MAX_PIPELINED, LIVEZ * 5000, UPLOAD, b"GET / HTTP/1.1\r\nX: " + b"y" * 30_000],
    ids=["some requests", "many requests", "an upload", "half a head"],
)
def test_a_crowd_of_waiting_connections_stays_within_its_bound(stack: Stack, more: bytes) -> None:
    """Each connection waits for a job, and meanwhile sends everything that is accepted from it."""
    stack.workers[0].signal(signal.SIGSTOP)
    try:
        job = json.loads(ask(stack.port, JOB).body)["id"].encode()
        before = megabytes(stack)
        with ExitStack() as crowd:
            for _ in range(CROWD):
                line = crowd.enter_context(socket.create_connection((LOOPBACK, stack.port), timeout=10))
                line.sendall(WAIT % job)
                line.setblocking(False)  # noqa: FBT003 - the standard library's own signature
                with suppress(OSError):  # what the gateway does not read stays here
                    line.send(more)
            for _ in range(10):
                assert ask(stack.port, LIVEZ).status == 200
            assert megabytes(stack) - before < CROWD * MOST_OF_ONE
    finally:
        stack.workers[0].signal(signal.SIGCONT)


def test_memory_of_uploads_is_given_back(stack: Stack) -> None:
    """A waiting call holds its image until it is answered; then the memory returns to the system."""
    noise = np.random.default_rng(0).integers(0, 255, (1150, 1150, 3), dtype=np.uint8)
    form = FORM.replace(FACE, encoded(noise))
    upload = post("/v1/jobs", form, b"multipart/form-data; boundary=b", more=b"Prefer: wait=3\r\n")
    before = megabytes(stack)
    stack.workers[0].signal(signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(30) as pool:
            answers = list(pool.map(partial(ask, stack.port), [upload] * 30))
    finally:
        stack.workers[0].signal(signal.SIGCONT)
    assert {answer.status for answer in answers} == {202}
    held = 30 * len(upload) / 2**20
    assert megabytes(stack) - before < held / 4

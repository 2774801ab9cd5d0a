"""Clients that stall, crowd or never finish, by raw sockets at the real gateway: each is answered, others continue."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Final

import pytest

from tests.corpus.exchanges import HOST
from tests.pictures import encoded, one_face
from tests.security.speaking import Answer, ask, read
from tests.stacks import FAKE, serving
from tools.ports import LOOPBACK
from tools.stack import Stack

HEAD: Final = 1.0
LIVEZ: Final = b"GET /livez HTTP/1.1\r\n" + HOST
UNKNOWN: Final = b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\n\r\nabc"
KEEP_ALIVE: Final = 2.0
CROWD: Final = 12
PICTURE: Final = encoded(one_face())


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    settings = {
        **FAKE,
        "VULTUS_HEADER_TIMEOUT": str(HEAD),
        "VULTUS_KEEP_ALIVE": str(KEEP_ALIVE),
        "VULTUS_UPLOAD_GRACE": "1",
        "VULTUS_UPLOAD_MIN_RATE": "10000",
        "VULTUS_UPLOAD_BUDGET_BYTES": str(1024 * 1024),
        "VULTUS_MAX_BATCH_BYTES": str(1024 * 1024),
        "VULTUS_MAX_CONNECTIONS": str(CROWD),
        "VULTUS_HSTS_MAX_AGE": "60",
        "VULTUS_TRUSTED_PROXIES": LOOPBACK,
    }
    with serving(tmp_path_factory.mktemp("lines"), settings) as running:
        yield running


def connection(stack: Stack) -> socket.socket:
    return socket.create_connection((LOOPBACK, stack.port), timeout=20)


def test_a_silent_connection_is_closed(stack: Stack) -> None:
    began = time.monotonic()
    with connection(stack) as silent:
        assert silent.recv(1) == b""
    assert time.monotonic() - began > 0.9 * HEAD


def test_an_idle_connection_is_kept_for_the_configured_time(stack: Stack) -> None:
    with connection(stack) as idle:
        for _ in range(2):
            idle.sendall(LIVEZ + b"\r\n")
            assert read(idle).status == 200
            answered = time.monotonic()
        assert idle.recv(1) == b""
        assert time.monotonic() - answered > 0.9 * KEEP_ALIVE


def test_a_request_just_before_the_idle_timeout_is_answered(stack: Stack) -> None:
    for moment in (0.5, 0.8):
        with connection(stack) as idle:
            idle.sendall(LIVEZ + b"\r\n")
            assert read(idle).status == 200
            time.sleep(moment * KEEP_ALIVE)
            idle.sendall(UNKNOWN)
            assert read(idle).status == 404


def test_the_scheme_from_a_trusted_proxy_is_believed(stack: Stack) -> None:
    trusted = ask(stack.port, LIVEZ + b"X-Forwarded-Proto: https\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n")
    plain = ask(stack.port, LIVEZ + b"\r\n")
    assert (trusted.headers.get("strict-transport-security"), plain.headers.get("strict-transport-security")) == (
        "max-age=60",
        None,
    )


@pytest.mark.parametrize("drop", [b"X-A: b\r\n", b"x", b"\r\n"])
def test_a_dripping_head_is_408_or_cut(stack: Stack, drop: bytes) -> None:
    with connection(stack) as dripping:
        dripping.sendall(b"" if drop == b"\r\n" else LIVEZ)
        for _ in range(8):
            dripping.sendall(drop)
            time.sleep(0.2)
            if dripping_is_over(dripping):
                break
        answer = read(dripping)
    assert answer.status == 408
    assert answer.problem["code"] == "request_timeout"


def dripping_is_over(peer: socket.socket) -> bool:
    peer.setblocking(False)  # noqa: FBT003 - the standard library's own signature
    try:
        return bool(peer.recv(1, socket.MSG_PEEK)) or True
    except BlockingIOError:
        return False
    finally:
        peer.settimeout(20)


@pytest.mark.parametrize(
    "sent",
    [
        LIVEZ + b"X-A: " + b"y" * 100_000,
        LIVEZ + b"X-A: " + b"y" * 100_000 + b"\r\n\r\n",
        LIVEZ + b"".join(b"X-%d: y\r\n" % number for number in range(500)) + b"\r\n",
        b"GET /" + b"y" * 100_000,
    ],
    ids=["one without end", "one", "many", "an address"],
)
def test_an_oversized_head_is_431(stack: Stack, sent: bytes) -> None:
    answer = ask(stack.port, sent)
    assert answer.status == 431
    assert answer.problem["code"] == "headers_too_large"
    assert answer.headers["connection"] == "close"


def test_invalid_http_gets_a_problem_document(stack: Stack) -> None:
    answer = ask(stack.port, b"\x16\x03\x01\x02\0\x01\0\r\n\r\n")
    assert (answer.status, answer.problem["code"]) == (400, "malformed_request")


def upload(length: int, *, more: bytes = b"") -> bytes:
    head = b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Type: multipart/form-data; boundary=b\r\n" + more
    part = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n'
    return head + b"Content-Length: %d\r\n\r\n" % length + part


def test_a_dripping_body_is_408(stack: Stack) -> None:
    with connection(stack) as dripping:
        dripping.sendall(upload(500_000))
        for _ in range(30):
            if dripping_is_over(dripping):
                break
            dripping.sendall(b"x")
            time.sleep(0.1)
        answer = read(dripping)
    assert (answer.status, answer.problem["code"]) == (408, "request_timeout")


def test_bodies_beyond_the_budget_are_503_and_fitting_ones_are_accepted(stack: Stack) -> None:
    with ExitStack() as held:
        for _ in range(2):
            peer = held.enter_context(connection(stack))
            peer.sendall(upload(600_000) + b"x" * 450_000)
        time.sleep(0.3)
        answer = ask(stack.port, upload(600_000) + b"x" * 599_900)
        assert (answer.status, answer.problem["code"]) == (503, "gateway_busy")
        assert answer.headers["retry-after"] == "2"
        assert submitted(stack).status == 202
    time.sleep(0.3)
    assert submitted(stack).status == 202


def test_an_upload_that_offers_http2_keeps_its_body(stack: Stack) -> None:
    """As the JDK's client sends it by default, and `curl --http2`."""
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAAIAAAAB\r\nUpgrade: h2c\r\n"
    assert submitted(stack, more=offer).status == 202


@pytest.mark.parametrize("hosts", [b"", HOST * 2])
def test_a_request_needs_exactly_one_host(stack: Stack, hosts: bytes) -> None:
    answer = ask(stack.port, b"GET /livez HTTP/1.1\r\n" + hosts + b"\r\n")
    assert (answer.status, answer.problem["code"]) == (400, "malformed_request")


def submitted(stack: Stack, *, more: bytes = b"") -> Answer:
    body = (
        b'--b\r\nContent-Disposition: form-data; name="operation"\r\n\r\ndetect\r\n'
        b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + PICTURE + b"\r\n--b--\r\n"
    )
    head = b"POST /v1/jobs HTTP/1.1\r\n" + HOST + b"Content-Type: multipart/form-data; boundary=b\r\n" + more
    return ask(stack.port, head + b"Content-Length: %d\r\n\r\n" % len(body) + body)


def test_excess_connections_get_retry_after_and_probes_are_answered(stack: Stack) -> None:
    with ExitStack() as held:
        for _ in range(CROWD):
            held.enter_context(connection(stack))
        time.sleep(0.2)
        refused = ask(stack.port, b"GET /v1/jobs HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (refused.status, refused.problem["code"]) == (503, "gateway_busy")
        assert ask(stack.port, LIVEZ + b"\r\n").status == 200
    time.sleep(0.3)
    assert ask(stack.port, b"GET /v1/jobs HTTP/1.1\r\n" + HOST + b"\r\n").status == 200


def test_a_long_unwanted_body_does_not_disturb_the_next_request(stack: Stack) -> None:
    with connection(stack) as peer:
        peer.sendall(b"POST /nowhere HTTP/1.1\r\n" + HOST + b"Content-Length: 200000\r\n\r\n" + b"x" * 200_000)
        assert read(peer).status == 404
        peer.sendall(LIVEZ + b"\r\n")
        assert read(peer).status == 200


def test_two_requests_sent_at_once_are_both_answered(stack: Stack) -> None:
    with connection(stack) as peer:
        peer.sendall((LIVEZ + b"\r\n") * 2)
        assert [read_next(peer), read_next(peer)] == [200, 200]


def read_next(peer: socket.socket) -> int:
    """The status of the next of several responses, read byte by byte so that nothing of the following one is lost."""
    held = b""
    while not held.endswith(b"\r\n\r\n"):
        held += peer.recv(1)
    length = next(
        int(text.split(b":")[1]) for text in held.lower().split(b"\r\n") if text.startswith(b"content-length")
    )
    while length > 0:
        length -= len(peer.recv(length))
    return int(held.split(b" ")[1])

"""Limits on the memory and the duration of uploads."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

from api.http.uploads import REFUSAL, Uploads
from shared.errors import ErrorCode
from tests.clock import run

GRACE = timedelta(seconds=0.05)


def made_time() -> float:
    """The time of the running loop."""
    return asyncio.get_running_loop().time()


def scope(*, length: int | None = None, path: str = "/v1/jobs", refusal: ErrorCode | None = None) -> Scope:
    headers = [] if length is None else [(b"content-length", str(length).encode())]
    state: dict[str, Any] = {} if refusal is None else {REFUSAL: refusal}
    return {"type": "http", "method": "POST", "path": path, "headers": headers, "state": state}


async def reader(scope: Scope, receive: Receive, send: Send) -> None:
    """An application that reads its body, then waits until it is let go."""
    await Request(scope, receive).body()
    await scope.get("hold", asyncio.sleep)(0)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class Client:
    """Sends the parts of a body, with a pause before each; remembers the answer."""

    def __init__(self, parts: Sequence[bytes], *, pauses: Iterable[float] = ()) -> None:
        self._parts = list(parts)
        self._pauses = list(pauses)
        self.status = 0
        self.headers: dict[bytes, bytes] = {}

    async def receive(self) -> Message:
        if self._pauses:
            await asyncio.sleep(self._pauses.pop(0))
        if not self._parts:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": self._parts.pop(0), "more_body": bool(self._parts)}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = dict(message["headers"])


def uploads(*, budget: int = 1000, rate: int = 1000) -> Uploads:
    return Uploads(reader, budget=budget, grace=GRACE, rate=rate, clock=made_time)


def test_a_body_within_the_budget_is_accepted_and_then_released() -> None:
    limiter, client = uploads(), Client([b"x" * 400, b"x" * 500])
    run(limiter(scope(), client.receive, client.send))
    assert (client.status, limiter.held) == (200, 0)


@pytest.mark.parametrize("length", [600, None], ids=["by its length", "while it comes"])
def test_a_body_above_the_budget_is_503_with_retry_after(length: int | None) -> None:
    async def refused_beside_another() -> tuple[int, Client, int]:
        limiter, first, second = uploads(), Client([b"x" * 500]), Client([b"x" * 300, b"x" * 300])
        release = asyncio.Event()

        async def hold(_: float) -> None:
            await release.wait()

        holding = asyncio.create_task(limiter({**scope(), "hold": hold}, first.receive, first.send))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert limiter.held == 500
        await limiter(scope(length=length), second.receive, second.send)
        between = limiter.held
        release.set()
        await holding
        assert (first.status, limiter.held) == (200, 0)
        return between, second, second.status

    between, refused, status = run(refused_beside_another())
    assert (between, status) == (500, 503)
    assert refused.headers[b"retry-after"] == b"2"


def test_a_length_above_the_whole_budget_is_left_to_the_body_limit() -> None:
    async def limited(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    limiter, client = Uploads(limited, budget=1000, grace=GRACE, rate=1000, clock=made_time), Client([])
    limiter.held = 500
    run(limiter(scope(length=10**12), client.receive, client.send))
    assert client.status == 413


def test_a_single_body_above_the_budget_is_accepted() -> None:
    limiter, client = uploads(budget=10), Client([b"x" * 400])
    run(limiter(scope(length=400), client.receive, client.send))
    assert client.status == 200


def test_a_slow_body_is_408_and_its_bytes_are_released() -> None:
    limiter, client = uploads(), Client([b"x"] * 50, pauses=[0.02] * 50)
    run(limiter(scope(), client.receive, client.send))
    assert (client.status, limiter.held) == (408, 0)


def test_a_body_that_never_arrives_is_408() -> None:
    limiter, client = uploads(), Client([b"x"], pauses=[5])
    run(limiter(scope(length=1), client.receive, client.send))
    assert client.status == 408


def test_a_slow_body_at_the_minimum_rate_is_accepted() -> None:
    limiter, client = uploads(rate=1000), Client([b"x" * 100] * 5, pauses=[0.02] * 5)
    run(limiter(scope(), client.receive, client.send))
    assert client.status == 200


def test_a_complete_request_may_wait_for_its_response() -> None:
    async def long_poll(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})

    limiter = Uploads(long_poll, budget=1, grace=GRACE, rate=1, clock=made_time)
    client = Client([b""], pauses=[0, 0.2])
    run(limiter(scope(), client.receive, client.send))
    assert client.status == 200


def test_a_slow_body_after_the_response_started_closes_the_connection() -> None:
    async def early(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    limiter, client = Uploads(early, budget=1, grace=GRACE, rate=1, clock=made_time), Client([b"x"], pauses=[5])
    with pytest.raises(ClientDisconnect):
        run(limiter(scope(), client.receive, client.send))


@pytest.mark.parametrize(
    ("code", "path", "status"),
    [
        (ErrorCode.GATEWAY_BUSY, "/v1/jobs", 503),
        (ErrorCode.GATEWAY_BUSY, "/livez", 200),
        (ErrorCode.HEADERS_TOO_LARGE, "/v1/jobs", 431),
        (ErrorCode.HEADERS_TOO_LARGE, "/livez", 431),
    ],
)
def test_a_refused_connection_reaches_the_application_only_for_probes(code: ErrorCode, path: str, status: int) -> None:
    limiter, client = uploads(), Client([b""])
    run(limiter(scope(path=path, refusal=code), client.receive, client.send))
    assert client.status == status

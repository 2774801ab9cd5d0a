"""Bodies of all requests together stay within their budget, and none keeps us waiting for long."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message, Receive, Scope, Send

from api.http.uploads import REFUSAL, Uploads
from shared.errors import ErrorCode

GRACE = timedelta(seconds=0.05)


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
    return Uploads(reader, budget=budget, grace=GRACE, rate=rate)


def test_a_body_within_the_budget_is_taken_and_then_forgotten() -> None:
    authenticator, client = uploads(), Client([b"x" * 400, b"x" * 500])
    asyncio.run(authenticator(scope(), client.receive, client.send))
    assert (client.status, authenticator.held) == (200, 0)


@pytest.mark.parametrize("length", [600, None], ids=["by its length", "while it comes"])
def test_a_body_without_room_beside_others_is_503_and_says_when_to_come_back(length: int | None) -> None:
    async def run() -> tuple[int, Client, int]:
        authenticator, first, second = uploads(), Client([b"x" * 500]), Client([b"x" * 300, b"x" * 300])
        release = asyncio.Event()

        async def hold(_: float) -> None:
            await release.wait()

        holding = asyncio.create_task(authenticator({**scope(), "hold": hold}, first.receive, first.send))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert authenticator.held == 500
        await authenticator(scope(length=length), second.receive, second.send)
        between = authenticator.held
        release.set()
        await holding
        assert (first.status, authenticator.held) == (200, 0)
        return between, second, second.status

    between, refused, status = asyncio.run(run())
    assert (between, status) == (500, 503)
    assert refused.headers[b"retry-after"] == b"2"


def test_a_length_that_would_never_fit_is_left_to_the_limit_of_its_call() -> None:
    async def limited(_scope: Scope, _receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 413, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    authenticator, client = Uploads(limited, budget=1000, grace=GRACE, rate=1000), Client([])
    authenticator.held = 500
    asyncio.run(authenticator(scope(length=10**12), client.receive, client.send))
    assert client.status == 413


def test_one_body_that_is_larger_than_the_budget_has_room_where_it_is_alone() -> None:
    authenticator, client = uploads(budget=10), Client([b"x" * 400])
    asyncio.run(authenticator(scope(length=400), client.receive, client.send))
    assert client.status == 200


def test_a_body_that_drips_is_408_and_its_bytes_are_given_back() -> None:
    authenticator, client = uploads(), Client([b"x"] * 50, pauses=[0.02] * 50)
    asyncio.run(authenticator(scope(), client.receive, client.send))
    assert (client.status, authenticator.held) == (408, 0)


def test_a_body_that_never_comes_is_408() -> None:
    authenticator, client = uploads(), Client([b"x"], pauses=[5])
    asyncio.run(authenticator(scope(length=1), client.receive, client.send))
    assert client.status == 408


def test_a_slow_body_that_keeps_its_pace_is_taken() -> None:
    authenticator, client = uploads(rate=1000), Client([b"x" * 100] * 5, pauses=[0.02] * 5)
    asyncio.run(authenticator(scope(), client.receive, client.send))
    assert client.status == 200


def test_whoever_is_whole_may_wait_for_its_answer() -> None:
    async def long_poll(_: Scope, receive: Receive, send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.start", "status": 200, "headers": []})

    authenticator = Uploads(long_poll, budget=1, grace=GRACE, rate=1)
    client = Client([b""], pauses=[0, 0.2])
    asyncio.run(authenticator(scope(), client.receive, client.send))
    assert client.status == 200


def test_a_drip_below_an_answer_that_began_cuts_the_line() -> None:
    async def early(_: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await receive()

    authenticator, client = Uploads(early, budget=1, grace=GRACE, rate=1), Client([b"x"], pauses=[5])
    with pytest.raises(ClientDisconnect):
        asyncio.run(authenticator(scope(), client.receive, client.send))


@pytest.mark.parametrize(
    ("code", "path", "status"),
    [
        (ErrorCode.GATEWAY_BUSY, "/v1/jobs", 503),
        (ErrorCode.GATEWAY_BUSY, "/livez", 200),
        (ErrorCode.HEADERS_TOO_LARGE, "/v1/jobs", 431),
        (ErrorCode.HEADERS_TOO_LARGE, "/livez", 431),
    ],
)
def test_what_the_line_has_refused_is_not_asked_but_for_a_probe_in_the_crowd(
    code: ErrorCode, path: str, status: int
) -> None:
    authenticator, client = uploads(), Client([b""])
    asyncio.run(authenticator(scope(path=path, refusal=code), client.receive, client.send))
    assert client.status == status

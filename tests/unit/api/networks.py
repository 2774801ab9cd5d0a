"""A fake network: every connection is recorded, and answered as the test says."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import httpcore


class Network(httpcore.AsyncNetworkBackend):
    """Answers each connection with these bytes; addresses in `dead` take none."""

    def __init__(self, *answer: bytes, dead: Iterable[str] = ()) -> None:
        self.answer = answer
        self.dead = set(dead)
        self.connected: list[tuple[str, int]] = []
        self.sent = b""

    async def connect_tcp(self, host: str, port: int, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError
        return Stream(self)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Stream(httpcore.AsyncMockStream):
    def __init__(self, network: Network) -> None:
        super().__init__(list(network.answer))
        self._network = network

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109, ARG002 - httpcore's
        self._network.sent += buffer


class Resolver:
    """Gives these answers by turns."""

    def __init__(self, *answers: Sequence[str] | OSError) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        del port
        self.asked.append(host)
        answer = self.answers.pop(0)
        if isinstance(answer, OSError):
            raise answer
        return answer


def answer(status: str = "200 OK", body: bytes = b"pixels", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body

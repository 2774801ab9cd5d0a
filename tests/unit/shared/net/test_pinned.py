"""Names are looked up in threads of their own."""

import socket
import threading
from typing import Any

import anyio
import pytest
from anyio import to_thread

from shared.net.pinned import look_up


def test_name_servers_that_hang_keep_no_thread_from_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, asked = threading.Event(), threading.Semaphore(0)

    def hang(*_: Any, **__: Any) -> list[Any]:
        asked.release()
        answered.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    found: list[Any] = []

    async def ask(number: int) -> None:
        found.append(await look_up(f"{number}.example", 443))

    async def run() -> None:
        names = 100  # more than the threads that all else has
        async with anyio.create_task_group() as group:
            for number in range(names):
                group.start_soon(ask, number)
            for _ in range(names):
                assert await to_thread.run_sync(lambda: asked.acquire(timeout=10))
            with anyio.fail_after(5):
                assert await to_thread.run_sync(lambda: "the store answers") == "the store answers"
            answered.set()

    anyio.run(run)
    assert found == [["93.184.215.14"]] * 100


def test_a_name_that_hangs_is_given_up_when_time_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30))

    async def run() -> bool:
        with anyio.move_on_after(0.1) as limit:
            await look_up("hangs.example", 443)
        answered.set()
        return limit.cancelled_caught

    assert anyio.run(run)

"""Host names are resolved in dedicated threads."""

import socket
import threading
from typing import Any

import anyio
import pytest
from anyio import to_thread

from shared.net.pinned import look_up


def test_hanging_name_servers_take_no_threads_from_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    answered, started = threading.Event(), threading.Semaphore(0)

    def hang(*_: Any, **__: Any) -> list[Any]:
        started.release()
        answered.wait(30)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("93.184.215.14", 443))]

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    results: list[Any] = []

    async def resolve(number: int) -> None:
        results.append(await look_up(f"{number}.example", 443))

    async def run() -> None:
        names = 100  # more than the threads of all other work
        async with anyio.create_task_group() as group:
            for number in range(names):
                group.start_soon(resolve, number)
            for _ in range(names):
                assert await to_thread.run_sync(lambda: started.acquire(timeout=10))
            with anyio.fail_after(5):
                assert await to_thread.run_sync(lambda: "store call") == "store call"
            answered.set()

    anyio.run(run)
    assert results == [["93.184.215.14"]] * 100


def test_a_hanging_lookup_is_abandoned_on_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(30))

    async def run() -> bool:
        with anyio.move_on_after(0.1) as limit:
            await look_up("hangs.example", 443)
        answered.set()
        return limit.cancelled_caught

    assert anyio.run(run)

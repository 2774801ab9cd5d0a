"""Hundreds of waiting clients cost only sockets, and every gateway hears of every completion."""

import asyncio
import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.photos import ASTRONAUT
from tools.ports import free_port
from tools.service import Service
from tools.stack import Stack

WAITERS = 800


@pytest.fixture
def two_gateways(tmp_path: Path) -> Iterator[tuple[Stack, str]]:
    """The stack with the fake engine, and the address of a second gateway."""
    running = Stack(data=tmp_path, port=free_port(), settings={"VULTUS_ENGINE": "fake"}, sink=lambda *_: None)
    port = free_port()
    with running:
        environment = {**running.environment, "VULTUS_PORT": str(port)}
        second = Service("second", running.gateway.command, environment, lambda *_: None)
        second.start()
        try:
            running.wait_ready(60)
            url = f"http://127.0.0.1:{port}"
            while True:
                try:
                    requests.get(f"{url}/livez", timeout=1)
                except requests.RequestException:
                    time.sleep(0.05)
                else:
                    break
            yield running, url
        finally:
            second.stop()


async def ask(url: str, path: str) -> tuple[str, float]:
    """One raw request; return the job's status in the response, and when it arrived."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    answer = (await reader.read()).decode()
    at = time.monotonic()
    writer.close()
    if "text/event-stream" in answer:
        return ("succeeded" if "event: end" in answer and "event: succeeded" in answer else answer), at
    return str(json.loads(answer.split("\r\n\r\n", 1)[1])["status"]), at


def threads(service: Service) -> int:
    return len(list(Path(f"/proc/{service.pid}/task").iterdir()))


def test_hundreds_of_waiters_cost_only_sockets_and_all_are_answered(two_gateways: tuple[Stack, str]) -> None:
    stack, second = two_gateways
    stack.workers[0].signal(signal.SIGSTOP)
    answer = requests.post(
        f"{stack.url}/v1/jobs", data={"operation": "detect"}, files={"image": ASTRONAUT.read_bytes()}, timeout=10
    )
    path = str(answer.json()["urls"]["self"])

    async def case() -> tuple[float, list[tuple[str, float]], int, int]:
        waits = [
            asyncio.create_task(ask(url, tail))
            for number in range(WAITERS // 4)
            for url in (stack.url, second)
            for tail in (f"{path}?wait=60", f"{path}/events")
        ]
        await asyncio.sleep(4)
        with stack.ledger.client() as client:
            connections = len(client.client_list())
        many = threads(stack.gateway)
        assert not any(wait.done() for wait in waits)
        stack.workers[0].signal(signal.SIGCONT)
        begin = time.monotonic()
        return begin, await asyncio.wait_for(asyncio.gather(*waits), timeout=60), connections, many

    begin, answers, connections, many = asyncio.run(case())
    assert [status for status, _ in answers] == ["succeeded"] * WAITERS
    assert max(at for _, at in answers) - begin < 10
    assert connections < 150  # thread pools and two subscriptions, not one for each
    assert many < 80

"""Workers and gateways leave under load without an effect: no call fails, no job is started twice."""

import http.client
import json
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Self

import pytest
import requests

from shared.jobs import Status
from tests.integration.breaking import picture
from tests.integration.poisons import SLOW, SLOWER
from tests.integration.watched_stack import PHOTO, Watched, soon, watched
from tools.ports import LOOPBACK, free_port
from tools.service import Service

DELAY = 2.0
CLIENTS = 4
WORKERS, THREADS = 2, 2
SLOW_PHOTO, SLOWER_PHOTO = picture(SLOW), picture(SLOWER)


@dataclass
class Load:
    """Clients with kept connections behind a balancer that sends nothing to a gateway that is not ready."""

    urls: list[str]
    jobs: list[str] = field(default_factory=list)
    trouble: list[str] = field(default_factory=list)
    unready: list[tuple[float, int, str]] = field(default_factory=list)
    """When, which gateway, and its response instead of ready."""

    def __post_init__(self) -> None:
        self._over = threading.Event()
        self._chosen = 0
        self._threads = [threading.Thread(target=self._submit, args=(number,)) for number in range(CLIENTS)]
        self._threads.append(threading.Thread(target=self._balance))

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(20)

    def _submit(self, number: int) -> None:
        body, form = _form(SLOW_PHOTO if number == 0 else PHOTO)
        with ExitStack() as exits:
            connections = [http.client.HTTPConnection(url.removeprefix("http://"), timeout=10) for url in self.urls]
            for connection in connections:
                exits.callback(connection.close)
            while not self._over.wait(0.4 if number == 0 else 0.03):
                self._once(connections[self._chosen], body, form)

    def _once(self, connection: http.client.HTTPConnection, body: bytes, form: str) -> None:
        try:
            connection.request("POST", "/v1/jobs", body, {"Content-Type": form})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.trouble.append(repr(error))
            connection.close()
            return
        if answer.status == 202:
            self.jobs.append(json.loads(body)["id"])
        else:
            self.trouble.append(f"{answer.status} {body.decode()}")

    def _balance(self) -> None:
        while not self._over.wait(0.1):
            try:
                answer = requests.get(f"{self.urls[self._chosen]}/readyz", timeout=5)
            except requests.RequestException as error:
                self.trouble.append(repr(error))
                continue
            if answer.status_code != 200:
                self.unready.append((time.monotonic(), self._chosen, answer.json()["status"]))
                self._chosen = 1 - self._chosen


def _form(image: bytes) -> tuple[bytes, str]:
    made = requests.Request(
        "POST", "http://gateway", data={"operation": "embed"}, files={"image": ("photo.png", image, "image/png")}
    ).prepare()
    assert isinstance(made.body, bytes)
    return made.body, str(made.headers["Content-Type"])


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Watched]:
    """Two workers that process some jobs slowly."""
    settings = {"VULTUS_DRAIN_DELAY": str(DELAY), "VULTUS_WORKER_THREADS": str(THREADS), "VULTUS_QUEUE_LIMIT": "100000"}
    with watched(tmp_path, workers=WORKERS, settings=settings, worker="tests.integration.poisoned_worker") as running:
        yield running


@pytest.fixture
def other(running: Watched) -> Iterator[Service]:
    """A second gateway."""
    port, stack = free_port(), running.stack
    environment = {**stack.environment, "VULTUS_PORT": str(port), "VULTUS_METRICS_PORT": "0"}
    other = Service("gateway-2", stack.gateway.command, environment, stack.sink, grace=15)
    other.start()
    soon(lambda: _answers(f"http://{LOOPBACK}:{port}/readyz"))
    yield other
    other.stop()


def _readiness(port: int) -> str:
    """The readiness response of a process on its metrics port, or that there is none any more."""
    try:
        return str(requests.get(f"http://{LOOPBACK}:{port}/readyz", timeout=5).json()["status"])
    except requests.RequestException:
        return "gone"


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).status_code == 200
    except requests.RequestException:
        return False


def occupy_every_thread(running: Watched) -> list[str]:
    """Give each thread of both workers a job of 2.5 s; their ids, once all are running."""
    body, form = _form(SLOWER_PHOTO)
    submit = partial(requests.post, f"{running.stack.url}/v1/jobs", body, headers={"Content-Type": form}, timeout=10)
    jobs = [submit().json()["id"] for _ in range(THREADS * WORKERS)]
    soon(lambda: all((job := running.ledger.read(each)) and job.status is Status.RUNNING for each in jobs))
    return jobs


def test_a_worker_and_a_gateway_leave_under_load_without_loss_or_repeat(running: Watched, other: Service) -> None:
    stack = running.stack
    with Load([stack.url, f"http://{LOOPBACK}:{other.environment['VULTUS_PORT']}"]) as load:
        soon(lambda: len(load.jobs) > 40)
        load.jobs += occupy_every_thread(running)
        stack.workers[0].signal(signal.SIGTERM)
        states = list(iter(partial(_readiness, running.port_of("worker-1")), "gone"))
        assert stack.workers[0].wait(30)
        before = len(load.jobs)
        stack.gateway.signal(signal.SIGTERM)
        began = time.monotonic()
        soon(lambda: load.unready, within=DELAY)
        assert running.ask("gateway", "/readyz").json() == {"status": "draining"}
        answer = requests.get(f"{stack.url}/v1/jobs/{load.jobs[0]}", timeout=5)
        assert (answer.status_code, answer.headers["Connection"]) == (200, "close")
        assert stack.gateway.wait(30)
        gone = time.monotonic() - began
        soon(lambda: len(load.jobs) > before + 40)
    assert load.trouble == []
    assert list(dict.fromkeys(states)) in (["ready", "draining"], ["draining"])
    assert [(which, word) for _, which, word in load.unready] == [(0, "draining")]
    assert gone >= DELAY
    assert (stack.workers[0].exit_code(), stack.gateway.exit_code()) == (0, 0)
    ended = [soon(partial(running.ended, job_id), within=60) for job_id in load.jobs]
    assert {(job.status.value, job.attempts) for job in ended} == {("succeeded", 1)}

"""Flower, started as the composition starts it, shows a real worker and its doorbells, and nothing of a job."""

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import requests

from shared.dispatch import QUEUE, RUN_NEXT
from tests.architecture.containers import GPU, environment, services
from tests.integration.watched_stack import soon
from tests.pictures import encoded
from tests.stacks import FAKE, serving
from tools.ports import LOOPBACK, free_port
from tools.service import Service
from tools.stack import Stack

pytestmark = pytest.mark.integration

USER: Final = ("user", "long-enough")
PORT: Final = "5555"
WITHIN: Final = 60.0
"""Seconds. Flower asks the workers for their events every five."""


@dataclass
class Flower:
    """A running Flower, asked over its HTTP API."""

    stack: Stack
    port: int

    def get(self, path: str, *, auth: tuple[str, str] | None = USER) -> requests.Response:
        return requests.get(f"http://{LOOPBACK}:{self.port}{path}", auth=auth, timeout=30)

    def started(self) -> bool:
        try:
            return self.get("/healthcheck", auth=None).ok
        except requests.ConnectionError:
            return False

    def workers(self) -> dict[str, Any]:
        """What the workers answered, by name; empty until each has answered every question."""
        workers = self.get("/api/workers?refresh=1").json()
        return workers if all({"active_queues", "registered"} <= set(worker) for worker in workers.values()) else {}

    def tasks_after(self, job: dict[str, Any]) -> list[dict[str, Any]]:
        """Submit a job and return the tasks that have ended, of those that Flower has seen arrive."""
        answer = requests.post(f"{self.stack.url}/v1/jobs", **job, timeout=30)
        assert answer.status_code == 200, answer.text
        assert answer.json()["status"] == "failed"
        tasks = self.get("/api/tasks").json().values()
        return [task for task in tasks if task["received"] and task["state"] not in {"RECEIVED", "STARTED"}]


@pytest.fixture(scope="module")
def flower(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flower]:
    service = services(GPU)["flower"]
    port = free_port()
    shell, option, script = (part.replace("$$", "$").replace(PORT, str(port)) for part in service["entrypoint"])
    with serving(tmp_path_factory.mktemp("stack"), FAKE) as stack:
        settings = {
            **environment(service),
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "CELERY_BROKER_URL": stack.broker.url,
            "FLOWER_BASIC_AUTH": ":".join(USER),
            "FLOWER_ADDRESS": LOOPBACK,
        }
        process = Service("flower", [shell, option, script], settings, lambda *_: None)
        process.start()
        try:
            running = Flower(stack, port)
            soon(running.started, within=WITHIN)
            yield running
        finally:
            process.stop()


def test_flower_shows_the_worker_and_its_queue(flower: Flower) -> None:
    (worker,) = soon(flower.workers, within=WITHIN).items()
    name, answers = worker
    assert name.startswith("worker-1@")
    assert [queue["name"] for queue in answers["active_queues"]] == [QUEUE]
    assert answers["registered"] == [RUN_NEXT]


def test_a_doorbell_succeeds_even_if_its_job_fails(flower: Flower) -> None:
    damaged = bytearray(encoded(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)))
    middle = len(damaged) // 2
    damaged[middle : middle + 16] = bytes(16)
    job = {"data": {"operation": "detect"}, "files": {"image": bytes(damaged)}, "headers": {"Prefer": "wait=20"}}
    tasks = soon(lambda: flower.tasks_after(job), within=WITHIN)
    assert {(task["name"], task["state"], task["args"], task["kwargs"]) for task in tasks} == {
        (RUN_NEXT, "SUCCESS", "()", "{}")
    }


def test_nothing_is_shown_without_the_password(flower: Flower) -> None:
    for path in ("/api/workers", "/api/tasks", "/workers"):
        assert flower.get(path, auth=None).status_code == 401
        assert flower.get(path, auth=("user", "wrong-password")).status_code == 401


def test_the_health_check_of_the_composition_passes(flower: Flower) -> None:
    kind, _, option, code = services(GPU)["flower"]["healthcheck"]["test"]
    assert (kind, option) == ("CMD", "-c")
    subprocess.run([sys.executable, option, code.replace(PORT, str(flower.port))], check=True, timeout=30)

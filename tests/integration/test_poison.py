"""An input that kills or hangs every worker that takes it fails in the end, and no other job pays for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.integration.breaking import LEASE
from tests.integration.poisons import HANGS, KILLS, SLOW
from tests.integration.test_faults import readable, status, supervised
from tests.pictures import encoded, one_face
from tools.ports import free_port
from tools.stack import Stack

SETTINGS = {
    "VULTUS_ENGINE": "fake",
    "VULTUS_LEASE": str(LEASE),
    "VULTUS_WORKER_THREADS": "2",
    "VULTUS_JOB_TIME_LIMIT": "3",
}


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def poisoned(tmp_path: Path, log: list[str]) -> Iterator[Stack]:
    """The service unchanged, except for the engine."""
    stack = Stack(
        data=tmp_path, port=free_port(), settings=SETTINGS, sink=lambda name, line: log.append(f"{name} | {line}")
    )
    for worker in stack.workers:
        worker.command = [part.replace("worker.app", "tests.integration.poisoned_worker") for part in worker.command]
    with stack:
        stack.wait_ready(60)
        yield stack


def submit(stack: Stack, mark: tuple[int, int, int] = (30, 30, 30)) -> str:
    pixels = one_face()
    pixels[0, 0] = mark
    answer = requests.post(
        f"{stack.url}/v1/jobs", data={"operation": "detect"}, files={"image": encoded(pixels)}, timeout=20
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def ended(stack: Stack, jobs: list[str]) -> list[dict[str, Any]]:
    """The jobs, once all of them have finished; the stack's supervisor restarts crashed processes meanwhile."""
    supervised(stack, lambda: all(status(stack, job) not in {"queued", "running", "unknown"} for job in jobs))
    return [requests.get(f"{stack.url}/v1/jobs/{job}", timeout=10).json() for job in jobs]


def test_an_input_that_kills_its_worker_fails_alone(poisoned: Stack, log: list[str]) -> None:
    before = [submit(poisoned) for _ in range(3)]
    poison = submit(poisoned, KILLS)
    after = [submit(poisoned, SLOW) for _ in range(6)]
    failed, *others = ended(poisoned, [poison, *before, *after])
    assert (failed["status"], failed["error"]["code"], failed["attempts"]) == ("failed", "worker_lost", 3)
    assert {job["status"] for job in others} == {"succeeded"}
    assert max(job["attempts"] for job in others) <= 2
    readable(log)


def test_two_such_inputs_at_once_fail_no_other_job_either(poisoned: Stack) -> None:
    poison = [submit(poisoned, KILLS) for _ in range(2)]
    ordinary = [submit(poisoned, SLOW) for _ in range(4)]
    *failed, a, b, c, d = ended(poisoned, [*poison, *ordinary])
    assert [(job["error"]["code"], job["attempts"]) for job in failed] == [("worker_lost", 3)] * 2
    assert [(job["status"], job["attempts"] <= 2) for job in (a, b, c, d)] == [("succeeded", True)] * 4


def test_an_input_that_hangs_its_worker_times_out_and_costs_others_nothing(poisoned: Stack, log: list[str]) -> None:
    hanging = submit(poisoned, HANGS)
    others = [submit(poisoned, SLOW) for _ in range(6)]
    failed, *rest = ended(poisoned, [hanging, *others])
    assert (failed["status"], failed["error"]["code"], failed["attempts"]) == ("failed", "timed_out", 3)
    assert [(job["status"], job["attempts"]) for job in rest] == [("succeeded", 1)] * 6
    stuck = [line for line in log if "job.stuck" in line]
    assert len(stuck) == 3
    assert all(hanging in line and "stage=detect" in line for line in stuck)
    readable(log)

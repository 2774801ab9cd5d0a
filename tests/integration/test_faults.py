"""Processes die, and the service recovers without manual work: nothing accepted is lost, nothing finishes twice."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests

from tests.integration.breaking import LEASE, breakable, picture
from tests.integration.poisons import SLOW
from tests.photos import SIX_FACES
from tests.stacks import serving
from tools.service import Service
from tools.setup import models_dir
from tools.stack import Stack

PHOTO = picture()
"""One face for the fake engine."""
SLOW_PHOTO = picture(SLOW)


@pytest.fixture
def log() -> list[str]:
    return []


@pytest.fixture
def own(tmp_path: Path, log: list[str]) -> Iterator[Stack]:
    """A private stack for the test to break."""
    with breakable(tmp_path, settings={"VULTUS_SYNC_TIMEOUT": "5"}, log=log) as running:
        yield running


@pytest.fixture
def with_models(tmp_path: Path, log: list[str]) -> Iterator[Stack]:
    """The same with real models, which need seconds to load and to analyze."""
    settings = {"VULTUS_PACK": "compact", "VULTUS_MODELS_DIR": str(models_dir()), "VULTUS_LEASE": str(LEASE)}
    with serving(tmp_path, settings, sink=lambda name, line: log.append(f"{name} | {line}")) as running:
        yield running


def supervised(stack: Stack, promise: Callable[[], bool], *, seconds: float = 100) -> None:
    deadline = time.monotonic() + seconds
    while not promise():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        stack.supervise_once()
        time.sleep(0.05)


def kill(service: Service) -> None:
    service.signal(signal.SIGKILL)
    service.wait(5)


def submit(stack: Stack, photo: bytes = PHOTO) -> str:
    answer = requests.post(f"{stack.url}/v1/jobs", data={"operation": "analyze"}, files={"image": photo}, timeout=20)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def status(stack: Stack, job_id: str) -> str:
    try:
        return str(requests.get(f"{stack.url}/v1/jobs/{job_id}", timeout=10).json()["status"])
    except requests.RequestException:
        return "unknown"


def works(stack: Stack) -> bool:
    try:
        answer = requests.post(f"{stack.url}/detect", files={"file": PHOTO}, timeout=20)
    except requests.RequestException:
        return False
    return answer.status_code == 200 and answer.json()["num_faces"] == 1


def readable(log: list[str]) -> None:
    """An operator reads these lines at night: events, no tracebacks."""
    assert [line for line in log if "Traceback" in line] == []


def test_jobs_in_a_killed_worker_run_again_and_finish_once(with_models: Stack, log: list[str]) -> None:
    jobs = [submit(with_models, SIX_FACES.read_bytes()) for _ in range(12)]
    supervised(with_models, lambda: any(status(with_models, job) == "running" for job in jobs), seconds=10)
    kill(with_models.workers[0])
    supervised(with_models, lambda: all(status(with_models, job) == "succeeded" for job in jobs))
    attempts = [requests.get(f"{with_models.url}/v1/jobs/{job}", timeout=10).json()["attempts"] for job in jobs]
    assert max(attempts) == 2
    readable(log)


def test_a_job_given_to_a_frozen_worker_that_is_killed_is_not_lost(own: Stack) -> None:
    own.workers[0].signal(signal.SIGSTOP)
    job = submit(own)
    time.sleep(1)
    kill(own.workers[0])
    supervised(own, lambda: status(own, job) == "succeeded")


def test_a_worker_that_stops_normally_finishes_its_jobs(own: Stack) -> None:
    jobs = [submit(own, SLOW_PHOTO) for _ in range(4)]
    supervised(own, lambda: any(status(own, job) == "running" for job in jobs), seconds=10)
    own.workers[0].signal(signal.SIGTERM)
    assert own.workers[0].wait(20)
    assert own.workers[0].exit_code() == 0
    for job in jobs:
        found = requests.get(f"{own.url}/v1/jobs/{job}", timeout=10).json()
        assert (found["status"], found["attempts"]) in {("succeeded", 1), ("queued", 0)}


def test_without_a_worker_the_service_reports_it_and_accepts_jobs(own: Stack) -> None:
    kill(own.workers[0])

    def unhealthy() -> bool:
        return requests.get(f"{own.url}/health", timeout=10).status_code == 503

    deadline = time.monotonic() + 25
    while not unhealthy() and time.monotonic() < deadline:
        time.sleep(0.2)
    answer = requests.post(f"{own.url}/detect", files={"file": PHOTO}, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (503, "no_worker")
    assert int(answer.headers["Retry-After"]) >= 1
    job = submit(own)
    supervised(own, lambda: status(own, job) == "succeeded")


def test_a_killed_gateway_comes_back_with_every_job(own: Stack, log: list[str]) -> None:
    job = submit(own)
    kill(own.gateway)
    supervised(own, lambda: status(own, job) == "succeeded")
    supervised(own, lambda: works(own))
    readable(log)


def test_a_killed_ledger_is_a_503_until_it_is_back(own: Stack, log: list[str]) -> None:
    jobs = [submit(own, SLOW_PHOTO) for _ in range(4)]
    kill(own.stores[0])
    answer = requests.post(f"{own.url}/v1/jobs", data={"operation": "detect"}, files={"image": PHOTO}, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert requests.get(f"{own.url}/health", timeout=10).status_code == 503
    supervised(own, lambda: all(status(own, job) == "succeeded" for job in jobs))
    supervised(own, lambda: works(own))
    readable(log)


def test_a_killed_broker_loses_no_job_and_service_continues(own: Stack, log: list[str]) -> None:
    kill(own.stores[1])
    begin = time.monotonic()
    job = submit(own)
    assert time.monotonic() - begin < 2
    supervised(own, lambda: status(own, job) == "succeeded")
    supervised(own, lambda: works(own))
    readable(log)


def test_a_wait_that_takes_too_long_is_a_504_and_the_job_continues(own: Stack) -> None:
    own.workers[0].signal(signal.SIGSTOP)
    answer = requests.post(f"{own.url}/detect", files={"file": PHOTO}, timeout=20)
    own.workers[0].signal(signal.SIGCONT)
    assert (answer.status_code, answer.json()["code"]) == (504, "wait_timeout")

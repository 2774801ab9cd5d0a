"""A private stack for a test to break: the service unchanged, except for an engine that fails on demand."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from shared.ledger import keys
from tests.pictures import encoded, one_face
from tools.ports import free_port
from tools.stack import Stack, StackError

LEASE = 3.0
"""Seconds: longer than a busy machine keeps a worker from extending it, so that no attempt is counted twice."""
SETTINGS = {"VULTUS_ENGINE": "fake", "VULTUS_LEASE": str(LEASE), "VULTUS_WORKER_THREADS": "2"}
ENDS = {"succeeded", "failed", "canceled", "expired"}


@contextmanager
def breakable(
    data: Path,
    *,
    workers: int = 1,
    settings: Mapping[str, str] | None = None,
    worker: str = "tests.integration.poisoned_worker",
    oddities: Mapping[int, Mapping[str, str]] | None = None,
    ledger_url: str | None = None,
    ready: bool = True,
    log: list[str] | None = None,
) -> Iterator[Stack]:
    """The running stack; `oddities` are environment variables of single workers, by their number from 0.

    With a `ledger_url` jobs are kept there, and the stack's own ledger is unused.
    """
    lines = [] if log is None else log
    stack = Stack(
        data=data,
        port=free_port(),
        workers=workers,
        settings={**SETTINGS, **(settings or {})},
        sink=lambda name, line: lines.append(f"{name} | {line}"),
    )
    for number, service in enumerate(stack.workers):
        service.command = [part.replace("worker.app", worker) for part in service.command]
        service.environment = {**service.environment, **(oddities or {}).get(number, {})}
    if ledger_url is not None:
        for service in [stack.gateway, *stack.workers]:
            service.environment = {**service.environment, "VULTUS_LEDGER_URL": ledger_url}
    with stack:
        try:
            if ready:
                stack.wait_ready(60)
            else:
                stack.wait_gateway(30)
        except StackError as error:
            pytest.fail("\n".join([str(error), *lines[-60:]]))
        yield stack


def picture(mark: tuple[int, int, int] = (30, 30, 30)) -> bytes:
    """A picture that the engine recognizes by its first pixel, given as BGR."""
    pixels = one_face()
    pixels[0, 0] = mark
    return encoded(pixels)


def job_of(stack: Stack, job_id: str) -> dict[str, Any]:
    answer = requests.get(f"{stack.url}/v1/jobs/{job_id}", timeout=10)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def history(stack: Stack, job_id: str) -> list[str]:
    """Every status that the job has had, from its record."""
    with stack.ledger.client() as client:
        written = client.hget(keys.job(0, job_id), "history") or b""
    return [step.split(b" ")[0].decode() for step in written.split(b";") if step]


def holder(stack: Stack, job_id: str) -> int:
    """The number of the worker that has the job now: its process id is part of the token's name."""
    with stack.ledger.client() as client:
        token = (client.hget(keys.job(0, job_id), "token") or b"").decode()
    pids = [str(service.pid) for service in stack.workers]
    return next(number for number, pid in enumerate(pids) if f"-{pid}-" in token)


def until(promise: Callable[[], bool], *, seconds: float = 20) -> None:
    """Wait without restarting exited processes."""
    deadline = time.monotonic() + seconds
    while not promise():
        assert time.monotonic() < deadline, "the condition did not hold in time"
        time.sleep(0.02)

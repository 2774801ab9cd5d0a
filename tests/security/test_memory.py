"""A picture that exhausts a worker's memory fails alone, as a dead letter; the worker survives and others continue."""

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from tests.corpus.pngs import SIDE, png
from tests.integration.test_faults import supervised
from tests.pictures import encoded, one_face
from tests.stacks import FAKE, serving
from tools.stack import Stack

SETTINGS = {
    **FAKE,
    "VULTUS_WORKER_THREADS": "2",
    "VULTUS_WORKER_MEMORY_MB": "600",
    "VULTUS_LEASE": "2",
}


@pytest.fixture
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    lines: list[str] = []
    with serving(
        tmp_path_factory.mktemp("memory"), SETTINGS, sink=lambda name, line: lines.append(f"{name} | {line}")
    ) as running:
        yield running
    assert [line for line in lines if "Traceback" in line] == []
    assert sum("job.out_of_memory" in line for line in lines) == 3


def submit(stack: Stack, data: bytes) -> str:
    answer = requests.post(f"{stack.url}/v1/jobs", data={"operation": "detect"}, files={"image": data}, timeout=20)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def read(stack: Stack, job: str) -> dict[str, Any]:
    job_record: dict[str, Any] = requests.get(f"{stack.url}/v1/jobs/{job}", timeout=10).json()
    return job_record


def test_a_picture_that_exhausts_memory_fails_alone_as_a_dead_letter(stack: Stack) -> None:
    worker = stack.workers[0].pid
    before = [submit(stack, encoded(one_face())) for _ in range(3)]
    bomb = submit(stack, png(SIDE, SIDE, depth=16, colour=6))
    after = [submit(stack, encoded(one_face())) for _ in range(6)]
    jobs = [bomb, *before, *after]
    supervised(stack, lambda: all(read(stack, job)["status"] not in {"queued", "running"} for job in jobs))
    failed, *others = [read(stack, job) for job in jobs]
    assert (failed["status"], failed["error"]["code"], failed["attempts"]) == ("failed", "worker_lost", 3)
    assert "memory" in failed["error"]["detail"]
    assert [(job["status"], job["attempts"]) for job in others] == [("succeeded", 1)] * 9
    dead = requests.get(f"{stack.url}/v1/jobs?dead_lettered=true", timeout=10).json()["jobs"]
    assert [job["id"] for job in dead] == [bomb]
    assert stack.workers[0].pid == worker

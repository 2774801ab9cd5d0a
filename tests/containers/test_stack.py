"""Start order, health, logs, images, and what survives a restart."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

from tests.containers.compose import SERVICES, WORKERS, ComposeStack, wait_for
from tests.pictures import encoded, one_face
from tools.containers.client import reachable

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]

STORES = ("ledger", "broker")
OURS = ("gateway", "courier", "worker")
MEBIBYTE = 1024 * 1024
LARGEST = {"vultus-gateway:local": 300, "vultus-worker-cpu:local": 900}
"""MiB of each image; the base is a part of it."""
UNWANTED = (
    "find / -xdev ( -name *.onnx -o -path /app/tests -o -path /root/.cache/pip/* ) -not -path */*-packages/* -print"
)
UNCOMPILED = """
from importlib.util import cache_from_source
from pathlib import Path
modules = list(Path("/app").rglob("*.py"))
assert modules
print(*[module for module in modules if not Path(cache_from_source(module)).exists()])
"""
"""Prints the modules of the image that every start would compile again, because the root is read-only then."""
RESTARTED = 120.0
"""Seconds after a restart of the daemon until all is healthy; Docker waits longer each time that a start fails."""


def test_every_service_is_healthy(stack: ComposeStack) -> None:
    counts = {service: len(stack.containers(service)) for service in SERVICES}
    assert counts == dict.fromkeys(SERVICES, 1) | {"worker": WORKERS}
    assert wait_for(stack.healthy, seconds=30)


def test_the_stores_start_before_the_processes(stack: ComposeStack) -> None:
    starts = stack.first_starts
    assert max(starts[store] for store in STORES) < min(starts[process] for process in OURS)


@pytest.mark.parametrize("service", OURS)
def test_every_log_line_is_json(stack: ComposeStack, service: str) -> None:
    lines = stack.compose("logs", "--no-color", "--no-log-prefix", service).splitlines()
    assert lines
    assert [line for line in lines if "event" not in json.loads(line)] == []


@pytest.mark.parametrize("image", LARGEST)
def test_an_image_holds_no_weights_no_tests_no_cache(stack: ComposeStack, image: str) -> None:
    assert stack.docker("run", "--rm", "--network=none", "--user=0", image, *UNWANTED.split()) == ""
    size = int(stack.docker("image", "inspect", "--format", "{{.Size}}", image)) // MEBIBYTE
    print(f"\n{image}: {size} MiB")  # noqa: T201 - the figure of this run
    assert size < LARGEST[image]


@pytest.mark.parametrize("image", LARGEST)
def test_an_image_holds_the_bytecode_of_every_module(stack: ComposeStack, image: str) -> None:
    assert stack.docker("run", "--rm", "--network=none", image, "python", "-c", UNCOMPILED) == ""


def test_without_a_worker_jobs_wait_and_health_says_so(stack: ComposeStack) -> None:
    scale(stack, 0)
    try:
        assert wait_for(lambda: stack.call("GET", "/health").status_code == 503, seconds=30)
        classic = stack.call("POST", "/detect", files={"file": encoded(one_face())})
        assert (classic.status_code, classic.json()["code"]) == (503, "no_worker")
        job_id = stack.submit(encoded(one_face()))
        assert stack.status(job_id) == "queued"
    finally:
        scale(stack, WORKERS)
    assert wait_for(lambda: stack.status(job_id) == "succeeded", seconds=60)


def scale(stack: ComposeStack, workers: int) -> None:
    stack.compose("up", "--detach", "--no-build", "--no-recreate", "--wait", "--scale", f"worker={workers}")


def test_jobs_survive_down_and_up(stack: ComposeStack) -> None:
    done = stack.submit(encoded(one_face()))
    assert wait_for(lambda: stack.status(done) == "succeeded", seconds=30)
    stack.compose("stop", "worker")
    waiting = stack.submit(encoded(one_face()))
    stack.compose("down", "--timeout", "20")
    stack.up()
    assert stack.status(done) == "succeeded"
    assert wait_for(lambda: stack.status(waiting) == "succeeded", seconds=30)


def test_everything_comes_back_after_a_restart_of_the_daemon(stack: ComposeStack) -> None:
    if "CONTAINERS_SUPERVISOR" not in os.environ:
        pytest.skip("the daemon is not ours to restart")
    supervisor = int(os.environ["CONTAINERS_SUPERVISOR"])
    before = daemon_of(supervisor)
    accepted = [stack.submit(encoded(one_face())) for _ in range(20)]
    os.kill(before, signal.SIGTERM)
    assert wait_for(lambda: daemon_of(supervisor) not in {0, before}, seconds=60)
    begin = time.monotonic()
    assert wait_for(lambda: reachable(stack.environment), seconds=60)
    assert wait_for(stack.healthy, seconds=RESTARTED)
    assert wait_for(lambda: {stack.status(each) for each in accepted} == {"succeeded"}, seconds=60)
    print(f"\nwhole {time.monotonic() - begin:.0f} s after a restart of the daemon")  # noqa: T201


def daemon_of(supervisor: int) -> int:
    """Return the process of the daemon, 0 while there is none."""
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text(encoding="ascii").split():
        command = Path(f"/proc/{child}/cmdline")
        if command.exists() and command.read_bytes().startswith(b"dockerd\0"):
            return int(child)
    return 0

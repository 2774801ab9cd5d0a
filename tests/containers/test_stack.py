"""What the compose files promise, tried on running containers."""

import json

import pytest

from tests.containers.compose import PROJECT, WORKERS, ComposeStack, wait_for
from tests.integration.breaking import picture

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

OURS = ("gateway", "courier", "worker")
MEBIBYTE = 1024 * 1024
LARGEST = {"vultus-gateway:local": 400, "vultus-worker-cpu:local": 1200}
"""MiB of each image; the base is a part of it."""
UNWANTED = (
    "find / -xdev ( -name *.onnx -o -path /app/tests -o -path /root/.cache/pip/* ) -not -path */*-packages/* -print"
)


def test_every_service_is_healthy(stack: ComposeStack) -> None:
    for service in ("ledger", "broker", "gateway", "courier", "worker"):
        containers = stack.containers(service)
        assert len(containers) == (WORKERS if service == "worker" else 1)
        assert {stack.state(container)["Health"]["Status"] for container in containers} == {"healthy"}


def test_the_stores_are_healthy_before_the_processes_start(stack: ComposeStack) -> None:
    started = {name: min(stack.state(each)["StartedAt"] for each in stack.containers(name)) for name in OURS}
    for store in ("ledger", "broker"):
        (container,) = stack.containers(store)
        assert stack.state(container)["StartedAt"] < min(started.values())


def test_a_job_succeeds(stack: ComposeStack) -> None:
    job_id = stack.submit("one", picture())
    assert job_id
    assert wait_for(lambda: stack.status(job_id) == "succeeded", seconds=20)


@pytest.mark.parametrize("service", OURS)
def test_a_process_has_no_privilege_and_nowhere_to_write(stack: ComposeStack, service: str) -> None:
    status = stack.run_in(service, "cat", "/proc/1/status").stdout
    fields = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
    assert fields["Uid"] == ["10001"] * 4
    assert fields["NoNewPrivs"] == ["1"]
    assert {int(fields[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")} == {0}
    write = stack.run_in(service, "touch", "/app/written")
    assert "Read-only file system" in write.stderr


def test_the_store_network_leads_nowhere(stack: ComposeStack) -> None:
    (gateway,) = stack.containers("gateway")
    networks = json.loads(stack.docker("inspect", "--format", "{{json .NetworkSettings.Networks}}", gateway))
    outside = networks[f"{PROJECT}_front"]["IPAddress"]
    connect = f"import socket; socket.create_connection(('{outside}', 8000), 3)"
    assert stack.run_in("courier", "python", "-c", connect).returncode == 0, "the control: it is on that network"
    assert stack.run_in("worker", "python", "-c", connect).returncode != 0
    for store in ("ledger", "broker"):
        assert stack.docker("port", stack.containers(store)[0]) == ""


def test_logs_are_json_lines(stack: ComposeStack) -> None:
    for service in ("gateway", "courier"):
        lines = stack.compose("logs", "--no-color", "--no-log-prefix", service).splitlines()
        assert lines
        for line in lines:
            assert json.loads(line)["event"]


@pytest.mark.parametrize("image", LARGEST)
def test_an_image_holds_no_weights_no_tests_no_cache(stack: ComposeStack, image: str) -> None:
    found = stack.docker("run", "--rm", "--network=none", "--user=0", image, *UNWANTED.split())
    assert found == ""
    size = int(stack.docker("image", "inspect", "--format", "{{.Size}}", image)) // MEBIBYTE
    print(f"\n{image}: {size} MiB")  # noqa: T201 - the figure of this run
    assert size < LARGEST[image]


def test_a_job_survives_down_and_up(stack: ComposeStack) -> None:
    job_id = stack.submit("kept", picture())
    assert job_id
    stack.compose("down", "--timeout", "20")
    stack.up()
    assert wait_for(lambda: stack.status(job_id) == "succeeded", seconds=20)

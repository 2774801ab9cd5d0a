"""Privileges, the network of the stores, and a memory limit that a hostile image hits."""

import struct
import zlib
from collections.abc import Iterator

import pytest

from tests.containers.compose import PROJECT, SERVICES, ComposeStack, wait_for
from tests.pictures import encoded, one_face
from tools.containers.client import ContainersError

pytestmark = [pytest.mark.integration, pytest.mark.timeout(500)]

STORES = ("ledger", "broker")
OURS = ("gateway", "courier", "worker")
LIMIT = "300m"
"""Twice what an idle worker needs, and less than the hostile image."""
UNLIMITED = "64g"


@pytest.mark.parametrize("service", SERVICES)
def test_a_process_has_no_privilege_and_nowhere_to_write(stack: ComposeStack, service: str) -> None:
    for container in stack.containers(service):
        status = stack.run_in(container, "cat", "/proc/1/status").stdout
        fields = {name: value.split() for name, _, value in (line.partition(":") for line in status.splitlines())}
        assert fields["Uid"] == ["999" if service in STORES else "10001"] * 4
        assert fields["NoNewPrivs"] == ["1"]
        assert {int(fields[name][0], 16) for name in ("CapEff", "CapPrm", "CapInh", "CapAmb", "CapBnd")} == {0}
        write = stack.run_in(container, "touch", "/written")
        assert "Read-only file system" in write.stderr


def test_nothing_on_the_store_network_reaches_out(stack: ComposeStack) -> None:
    (gateway,) = stack.containers("gateway")
    (courier,) = stack.containers("courier")
    reach = connect(stack.address(gateway, "front"), 8000)
    assert stack.run_in(courier, *reach).returncode == 0, "the control: it is on that network"
    for container in stack.containers("worker"):
        assert stack.run_in(container, *reach).returncode != 0


@pytest.mark.parametrize("store", STORES)
def test_nothing_outside_the_store_network_reaches_a_store(stack: ComposeStack, store: str) -> None:
    (container,) = stack.containers(store)
    (courier,) = stack.containers("courier")
    reach = connect(stack.address(container, "store"), 6379)
    assert stack.run_in(courier, *reach).returncode == 0, "the control: it is on that network"
    assert stack.docker("port", container) == ""
    outside = ("run", "--rm", "--network", f"{PROJECT}_front", "vultus-gateway:local", *reach)
    with pytest.raises(ContainersError, match=r"timed out|unreachable|refused"):
        stack.docker(*outside)


def connect(address: str, port: int) -> tuple[str, ...]:
    return "python", "-c", f"import socket; socket.create_connection(('{address}', {port}), 3)"


@pytest.fixture
def small(stack: ComposeStack) -> Iterator[list[str]]:
    """The workers, each with little memory."""
    workers = stack.containers("worker")
    stack.docker("update", "--memory", LIMIT, "--memory-swap", LIMIT, *workers)
    yield workers
    stack.docker("update", "--memory", UNLIMITED, "--memory-swap", UNLIMITED, *workers)


def test_an_image_that_hits_the_memory_limit_fails_alone(stack: ComposeStack, small: list[str]) -> None:
    hostile = stack.submit(deep_png(6000, 6000))
    others = [stack.submit(encoded(one_face())) for _ in range(10)]
    assert wait_for(lambda: stack.status(hostile) == "failed", seconds=240)
    assert stack.job(hostile)["error"]["code"] == "worker_lost"
    assert wait_for(lambda: {stack.status(each) for each in others} == {"succeeded"}, seconds=60)
    assert wait_for(stack.healthy, seconds=60)
    assert sum(stack.inspect(each)["RestartCount"] for each in small) > 0, "the control: the limit was hit"


def deep_png(width: int, height: int) -> bytes:
    """A black picture with 16 bits and alpha: a few hundred kilobytes that decode to 8 bytes per pixel."""
    packer = zlib.compressobj(9)
    row = bytes(1 + 8 * width)
    data = b"".join([*(packer.compress(row) for _ in range(height)), packer.flush()])
    header = struct.pack(">IIBBBBB", width, height, 16, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

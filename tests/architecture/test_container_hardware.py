"""Which container gets a GPU, and what a container without one runs on."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.architecture.containers import CPU, GPU, ROOT, TWO_GPUS, compose, environment, services


def gpus(service: dict[str, Any]) -> list[str]:
    devices = service.get("deploy", {}).get("resources", {}).get("reservations", {}).get("devices", [])
    return [identifier for device in devices for identifier in device["device_ids"] if "gpu" in device["capabilities"]]


def test_a_gpu_worker_gets_one_gpu_and_refuses_to_fall_back() -> None:
    worker = services(GPU)["worker"]
    assert gpus(worker) == ["0"]
    assert environment(worker)["VULTUS_PROVIDER"] == "cuda"
    assert worker["build"]["args"] == {"HARDWARE": "gpu"}


def test_the_second_gpu_gets_its_own_worker() -> None:
    workers = {name: gpus(service) for name, service in services(TWO_GPUS).items() if name.startswith("worker")}
    assert workers == {"worker": ["0"], "worker-gpu-1": ["1"]}


def test_nothing_requests_a_gpu_without_one() -> None:
    worker = services(CPU)["worker"]
    assert all(gpus(service) == [] for service in services(CPU).values())
    assert environment(worker)["VULTUS_PROVIDER"] == "cpu"
    assert worker["build"]["args"] == {"HARDWARE": "cpu"}
    assert worker["image"] != services(GPU)["worker"]["image"]


@pytest.mark.parametrize("hardware", ["cpu", "openvino"])
def test_a_worker_without_a_gpu_runs_on_the_provider_of_its_build(hardware: str) -> None:
    config = json.loads(compose("config", "--format", "json", files=CPU, environment={"HARDWARE": hardware}))
    worker = config["services"]["worker"]
    assert worker["build"]["args"] == {"HARDWARE": hardware}
    assert worker["environment"]["VULTUS_PROVIDER"] == hardware
    assert worker["image"] == f"vultus-worker-{hardware}:local"


def test_the_packs_without_a_gpu_are_those_of_the_host() -> None:
    (mount,) = services(CPU)["worker"]["volumes"]
    assert (mount["type"], Path(mount["source"])) == ("bind", ROOT / ".data" / "models")
    assert environment(services(CPU)["worker"])["VULTUS_PACK"] == "compact"

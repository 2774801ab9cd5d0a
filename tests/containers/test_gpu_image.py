"""The image for GPUs: gigabytes of CUDA, so it is built only with `make containers GPU=1`; no GPU is needed."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.containers.compose import PROJECT, ComposeStack
from tools.containers.client import DOCKER
from tools.containers.images import build_image
from tools.setup import ROOT

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(3600),
    pytest.mark.skipif("CONTAINERS_GPU" not in os.environ, reason="gigabytes to download: run `make containers GPU=1`"),
]

TAG = "vultus-worker-gpu:local"
REBUILT = 60.0
"""Seconds for a build after a change of our code, which has to reuse the layer with CUDA."""


def build(stack: ComposeStack, folder: Path) -> float:
    """Build the image from a folder; seconds."""
    dockerfile = str(folder / "Dockerfile.worker")
    return build_image(TAG, stack.environment, dockerfile=dockerfile, folder=str(folder), hardware="gpu")


@pytest.fixture(scope="module")
def image(stack: ComposeStack) -> Iterator[str]:
    seconds = build(stack, ROOT)
    size = int(stack.docker("image", "inspect", "--format", "{{.Size}}", TAG)) // 2**20
    print(f"\n{TAG}: {size} MiB, built in {seconds:.0f} s")  # noqa: T201 - the figure of this run
    yield TAG
    stack.docker("image", "rm", TAG)


def test_its_runtime_has_cuda(stack: ComposeStack, image: str) -> None:
    program = "import json, onnxruntime; print(json.dumps(onnxruntime.get_available_providers()))"
    printed = stack.docker("run", "--rm", "--network=none", image, "python", "-c", program)
    assert "CUDAExecutionProvider" in json.loads(printed)


def test_its_worker_refuses_to_start_without_a_gpu(stack: ComposeStack, image: str) -> None:
    arguments = ["run", "--rm", "--network", f"{PROJECT}_store", "--volume", f"{ROOT / '.data/models'}:/models:ro"]
    settings = {
        "VULTUS_PROVIDER": "cuda",
        "VULTUS_PACK": "compact",
        "VULTUS_MODELS_DIR": "/models",
        "VULTUS_LEDGER_URL": "redis://ledger:6379/0",
        "VULTUS_BROKER_URL": "redis://broker:6379/0",
    }
    for name, value in settings.items():
        arguments += ["--env", f"{name}={value}"]
    run = subprocess.run(
        [DOCKER, *arguments, image], env=stack.environment, capture_output=True, text=True, check=False
    )
    assert run.returncode != 0
    last = (run.stdout + run.stderr).strip().splitlines()[-1]
    assert "the NVIDIA driver sees no GPU" in last
    assert "--gpus" in last


def test_a_change_of_code_keeps_the_layer_with_cuda(stack: ComposeStack, image: str, tmp_path: Path) -> None:
    assert image
    for name in ("Dockerfile.worker", ".dockerignore"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("requirements", "shared", "worker"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "worker" / "app.py").open("a") as module:
        module.write("# changed\n")
    assert build(stack, tmp_path) < REBUILT

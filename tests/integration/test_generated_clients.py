"""Clients generated from the OpenAPI document can submit jobs in each of the forms that it describes."""

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from PIL import Image

from tests.contract.snapshot import SNAPSHOT
from tests.stacks import FAKE, serving
from tools.stack import Stack

GENERATOR: Final = "openapi-python-client==0.29.1"
SOURCES: Final = Path(__file__).with_name("generated_clients")
INSTALL: Final = 90
"""Seconds that a package registry may take; the packages themselves take about five."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serving(tmp_path_factory.mktemp("service"), FAKE) as running:
        yield running


def install(*command: str, folder: Path) -> None:
    """Install packages with their ordinary client; skip if it reaches no registry."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL)
    except FileNotFoundError:
        pytest.skip(f"{command[0]} is not installed, so no client is generated")
    except subprocess.TimeoutExpired:
        pytest.skip(f"{command[0]} could not install its packages within {INSTALL} s")
    if done.returncode != 0:
        pytest.skip(f"{command[0]} could not install its packages: {done.stderr.strip()[-300:]}")


def run(*command: str, folder: Path, environment: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command that must succeed."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done


def client_environment(service: Stack) -> dict[str, str]:
    """The input of the generated clients: the service, and an image in which the fake engine sees one face."""
    image, file = Image.new("RGB", (320, 240)), io.BytesIO()
    image.paste((250, 250, 250), (100, 60, 200, 180))
    image.save(file, "JPEG", quality=95)
    return {"SERVICE": service.url, "IMAGE": base64.b64encode(file.getvalue()).decode()}


def check(report: dict[str, Any]) -> None:
    assert report.pop("width") > 0
    assert report == {"faces": 1, "form": "succeeded", "json": "succeeded", "problem": "invalid_embedding"}


def test_a_generated_python_client_submits_jobs_and_batches(service: Stack, tmp_path: Path) -> None:
    uv = str(Path(sys.executable).with_name("uv"))
    python = str(tmp_path / "tools" / "bin" / "python")
    run(uv, "venv", "--quiet", "--python", sys.executable, "tools", folder=tmp_path)
    install(uv, "pip", "install", "--quiet", "--python", python, GENERATOR, folder=tmp_path)
    output = ("--meta", "none", "--output-path", "vultus_client")
    generated = run(
        str(Path(python).with_name("openapi-python-client")), "generate", "--path", str(SNAPSHOT), *output,
        folder=tmp_path,
    )  # fmt: skip
    warnings = generated.stdout + generated.stderr
    assert "Unable to" not in warnings
    assert warnings.count("Cannot parse") == 1, warnings  # the export of a tenant: a stream of JSON lines
    shutil.copy(SOURCES / "submit.py", tmp_path)
    report = json.loads(run(python, "submit.py", folder=tmp_path, environment=client_environment(service)).stdout)
    assert report.pop("batches") == [["completed", 2], ["completed", 1]]
    check(report)


def test_a_generated_typescript_client_submits_jobs(service: Stack, tmp_path: Path) -> None:
    folder = shutil.copytree(SOURCES, tmp_path / "client")
    install("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline", folder=folder)
    run("node", "generate.mjs", str(SNAPSHOT), folder=folder)
    run("node", "node_modules/typescript/bin/tsc", "--project", ".", folder=folder)
    check(json.loads(run("node", "built/submit.js", folder=folder, environment=client_environment(service)).stdout))

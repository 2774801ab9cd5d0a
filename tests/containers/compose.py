"""The compose stack in real containers, as an operator runs it."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import requests

from tools.containers import docker
from tools.ports import free_port
from tools.setup import ROOT

PROJECT: Final = "vultus-containers-test"
FILES: Final = ("docker-compose.yml", "docker-compose.cpu.yml")
WORKERS: Final = 3
CREATE_KEY: Final = (
    "exec",
    "-T",
    "gateway",
    "python",
    "-m",
    "api.auth.keys_cli",
    "create",
    "--scopes",
    "jobs:read,jobs:write",
)


class ComposeStack:
    """One project of its own, on a free port, with the fake engine."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.headers: dict[str, str] = {}
        self.environment = {
            **os.environ,
            "PORT": str(self.port),
            "VULTUS_ENGINE": "fake",
            "VULTUS_WORKER_THREADS": "2",
            "VULTUS_LEASE": "3",
        }

    def compose(self, *arguments: str) -> str:
        """Run Docker Compose on the project and return what it printed."""
        files = [part for name in FILES for part in ("--file", str(ROOT / name))]
        run = subprocess.run(
            [str(ROOT / ".venv/bin/docker-compose"), "--project-name", PROJECT, *files, *arguments],
            env=self.environment, capture_output=True, text=True, check=False, timeout=180,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr[-2000:]
        return run.stdout

    def docker(self, *arguments: str) -> str:
        """Run the Docker client."""
        return docker(*arguments, environment=self.environment)

    def up(self) -> None:
        """Start what is not running and wait until all of it is healthy."""
        (ROOT / ".data" / "models").mkdir(parents=True, exist_ok=True)
        self.compose("up", "--detach", "--no-build", "--wait", "--scale", f"worker={WORKERS}")

    def create_key(self) -> None:
        """Make a key with the documented command and use it from now on."""
        words = self.compose(*CREATE_KEY).split()
        self.headers = {"Authorization": f"Bearer {next(word for word in words if word.startswith('vk_'))}"}

    def containers(self, service: str) -> list[str]:
        """Return the ids of a service's containers, also of those that are stopped."""
        return self.compose("ps", "--all", "--quiet", service).split()

    def state(self, container: str) -> dict[str, Any]:
        """Return the state of a container."""
        return dict(json.loads(self.docker("inspect", "--format", "{{json .State}}", container)))

    def run_in(self, service: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the first container of a service, whatever its exit status."""
        client = ["/usr/bin/docker" if Path("/usr/bin/docker").exists() else "docker"]
        return subprocess.run(
            [*client, "exec", self.containers(service)[0], *command],
            env=self.environment, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip

    def submit(self, key: str, image: bytes) -> str | None:
        """Submit a job; its id, or None where there was no answer or one to come back after."""
        try:
            response = requests.post(
                f"{self.url}/v1/jobs", data={"operation": "detect"}, files={"image": image},
                headers={**self.headers, "Idempotency-Key": key}, timeout=10,
            )  # fmt: skip
        except requests.RequestException:
            return None
        assert response.status_code in {200, 202, 409, 429, 503}, response.text
        return str(response.json()["id"]) if response.status_code in {200, 202} else None

    def status(self, job_id: str) -> str | None:
        """Return the status of a job, None where the service is away."""
        try:
            response = requests.get(f"{self.url}/v1/jobs/{job_id}", headers=self.headers, timeout=10)
        except requests.RequestException:
            return None
        if response.status_code == 429 or response.status_code >= 500:
            return None
        assert response.ok, response.text
        return str(response.json()["status"])

    def down(self) -> None:
        """Remove everything, volumes too."""
        self.compose("down", "--volumes", "--timeout", "10")


def wait_for(promise: Callable[[], bool], *, seconds: float) -> bool:
    """Wait until it holds; False where it does not in time."""
    deadline = time.monotonic() + seconds
    while not promise():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True

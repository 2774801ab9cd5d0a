"""The compose stack in real containers, as an operator runs it."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

import redis
import requests

from shared.webhooks.signing import new_secret
from tools.containers.client import DOCKER, docker
from tools.ports import free_port
from tools.setup import ROOT

PROJECT: Final = "vultus-containers-test"
FILES: Final = ("docker-compose.yml", "docker-compose.cpu.yml", "tests/containers/quick.yml")
PROXIED: Final = (*FILES, "deploy/compose.tls.yml")
WORKERS: Final = 2
SERVICES: Final = ("ledger", "broker", "gateway", "courier", "worker")
RETRIES: Final = ",".join(["0.2", "0.5", "1", "1", *["2"] * 30])
PRIVATE: Final = "10.0.0.0/8,172.16.0.0/12,192.168.0.0/16"
MAX_ATTEMPTS: Final = 3
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


class ComposeError(AssertionError):
    """Docker Compose failed; the message is what it printed."""


class ComposeStack:
    """One project of its own, on a free port, with the fake engine."""

    def __init__(self) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.headers: dict[str, str] = {}
        self.secret = new_secret()
        self.first_starts: dict[str, str] = {}
        self.environment = {
            **os.environ,
            "PORT": str(self.port),
            "VULTUS_ENGINE": "fake",
            "VULTUS_WORKER_THREADS": "2",
            "VULTUS_LEASE": "3",
            "VULTUS_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
            "VULTUS_RETRY_WINDOW": "5",
            "VULTUS_WEBHOOK_SECRETS": self.secret,
            "VULTUS_WEBHOOK_ALLOW_HTTP": "true",
            "VULTUS_WEBHOOK_ALLOW_PRIVATE": PRIVATE,
            "VULTUS_WEBHOOK_RETRIES": RETRIES,
            "VULTUS_WEBHOOK_TIMEOUT": "1",
            "VULTUS_WEBHOOK_HOLD": "3",
        }

    def compose(
        self, *arguments: str, files: Sequence[str] = FILES, environment: Mapping[str, str] | None = None
    ) -> str:
        """Run Docker Compose on the project and return what it printed.

        Raises:
            ComposeError: it failed.
        """
        options = [part for name in files for part in ("--file", str(ROOT / name))]
        run = subprocess.run(
            [ROOT / ".venv/bin/docker-compose", "--project-name", PROJECT, *options, *arguments],
            env={**self.environment, **(environment or {})}, capture_output=True, text=True, check=False, timeout=240,
        )  # fmt: skip
        if run.returncode:
            raise ComposeError(run.stderr[-2000:])
        return run.stdout

    def docker(self, *arguments: str) -> str:
        """Run the Docker client."""
        return docker(*arguments, environment=self.environment)

    def up(self, *more: str, files: Sequence[str] = FILES) -> None:
        """Start what is not running, or is not as the files say, and wait until all of it is healthy."""
        (ROOT / ".data" / "models").mkdir(parents=True, exist_ok=True)
        self.compose("up", "--detach", "--no-build", "--wait", "--scale", f"worker={WORKERS}", *more, files=files)

    def create_key(self) -> None:
        """Make a key with the documented command and use it from now on."""
        words = self.compose(*CREATE_KEY).split()
        self.headers = {"Authorization": f"Bearer {next(word for word in words if word.startswith('vk_'))}"}

    def containers(self, service: str, *filters: str) -> list[str]:
        """Return the ids of a service's containers, also of those that are stopped."""
        return self._listed("{{.ID}}", f"label=com.docker.compose.service={service}", *filters)

    def _listed(self, shown: str, *filters: str) -> list[str]:
        """Return a line for each container of the project, for less CPU time than `docker-compose ps`."""
        ours = (f"label=com.docker.compose.project={PROJECT}", "label=com.docker.compose.oneoff=False", *filters)
        options = [part for each in ours for part in ("--filter", each)]
        return self.docker("ps", "--all", "--no-trunc", "--format", shown, *options).splitlines()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what the daemon knows of a container."""
        return dict(json.loads(self.docker("inspect", container))[0])

    def state(self, container: str) -> dict[str, Any]:
        """Return the state of a container."""
        return dict(self.inspect(container)["State"])

    def healthy(self) -> bool:
        """Return True if all containers of the project are: `Up 3 seconds (healthy)`."""
        listed = self._listed("{{.Status}}")
        return bool(listed) and all(each.endswith("(healthy)") for each in listed)

    def address(self, container: str, network: str) -> str:
        """Return the address of a container in one of the project's networks; empty if it has none there."""
        networks = self.inspect(container)["NetworkSettings"]["Networks"]
        return str(networks.get(f"{PROJECT}_{network}", {}).get("IPAddress", ""))

    def this_side(self, network: str) -> str:
        """Return the address under which containers of a network reach the machine of the daemon."""
        described = json.loads(self.docker("network", "inspect", f"{PROJECT}_{network}"))
        return str(described[0]["IPAM"]["Config"][0]["Gateway"])

    def store(self, service: str) -> redis.Redis:
        """Return a client of a store, which only the daemon's own machine can reach."""
        (container,) = self.containers(service)
        return redis.Redis(self.address(container, "store"), socket_timeout=5, socket_connect_timeout=5)

    def run_in(self, container: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a container, whatever its exit status."""
        return subprocess.run(
            [DOCKER, "exec", container, *command],
            env=self.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """Call the service with the key."""
        more.setdefault("headers", {}).update(self.headers)
        return requests.request(method, self.url + path, timeout=30, **more)

    def submit(self, image: bytes, **fields: str) -> str:
        """Submit a job; its id."""
        response = self.call("POST", "/v1/jobs", data={"operation": "detect", **fields}, files={"image": image})
        assert response.status_code == 202, response.text
        return str(response.json()["id"])

    def job(self, job_id: str) -> dict[str, Any]:
        """Return a job as the service shows it."""
        response = self.call("GET", f"/v1/jobs/{job_id}")
        assert response.status_code == 200, response.text
        return dict(response.json())

    def status(self, job_id: str) -> str:
        """Return the status of a job; empty while the service is away."""
        with suppress(requests.RequestException, AssertionError):
            return str(self.job(job_id)["status"])
        return ""

    def down(self, *more: str) -> None:
        """Remove everything, also what only a profile starts, and volumes."""
        self.compose("--profile", "*", "down", "--volumes", "--remove-orphans", "--timeout", "10", *more, files=PROXIED)


def wait_for(promise: Callable[[], bool], *, seconds: float) -> bool:
    """Wait until it holds; False if it does not in time."""
    deadline = time.monotonic() + seconds
    while not promise():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True

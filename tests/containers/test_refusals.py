"""A wrong folder, port, file or image ends with one line that names it; operations.md says what to do about each."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.containers.compose import FILES, PROJECT, ComposeError, ComposeStack, wait_for
from tools.containers.client import DOCKER
from tools.ports import LOOPBACK, free_port
from tools.setup import ROOT

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

OWN = f"{PROJECT}-refused"
SECRETS = "deploy/compose.secrets.yml"
MODELS = """\
services:
  worker:
    volumes: !override
      - type: bind
        source: {folder}
        target: /models
        read_only: true
        bind: {{create_host_path: false}}
"""


class Refused:
    """A second project beside the stack, of which single services are started in a wrong way."""

    def __init__(self, stack: ComposeStack, folder: Path) -> None:
        self._stack, self._folder = stack, folder
        self._more: list[str] = []

    def models(self, folder: Path) -> None:
        """Let the worker read its models there."""
        override = self._folder / "models.yml"
        override.write_text(MODELS.format(folder=folder), encoding="utf-8")
        self._more.append(str(override))

    def secrets(self) -> None:
        """Add the file with the secrets."""
        self._more.append(SECRETS)

    def start(self, service: str, **environment: str) -> str:
        """Start a service; the last line if Compose refuses, empty if it does not."""
        try:
            self.compose("up", "--detach", "--no-build", service, environment=environment)
        except ComposeError as error:
            return [line for line in str(error).splitlines() if line.strip()][-1]
        return ""

    def compose(self, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """Run Docker Compose on the second project."""
        own = {"PORT": str(free_port()), **(environment or {})}
        return self._stack.compose("--project-name", OWN, *arguments, files=(*FILES, *self._more), environment=own)

    def last_line(self, service: str, **environment: str) -> str:
        """Return the last line of a service's log."""
        lines = self.compose("logs", "--no-color", "--no-log-prefix", service, environment=environment).splitlines()
        return lines[-1] if lines else ""


@pytest.fixture
def refused(stack: ComposeStack, tmp_path: Path) -> Iterator[Refused]:
    tmp_path.chmod(0o755)
    refused = Refused(stack, tmp_path)
    yield refused
    refused.compose("down", "--volumes", "--timeout", "2", environment={"WEBHOOK_SECRETS_FILE": os.devnull})


def test_a_missing_folder_of_models(refused: Refused, tmp_path: Path) -> None:
    refused.models(tmp_path / "missing")
    assert f"bind source path does not exist: {tmp_path / 'missing'}" in refused.start("worker")


def test_a_folder_of_models_that_the_worker_may_not_read(refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "models"
    (folder / "compact").mkdir(parents=True)
    folder.chmod(0o700)
    refused.models(folder)
    assert refused.start("worker", VULTUS_ENGINE="vultus") == ""
    assert wait_for(lambda: "start.refused" in refused.last_line("worker"), seconds=60)
    assert "/models" in refused.last_line("worker")


def test_a_port_in_use(refused: Refused) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = str(taken.getsockname()[1])
        line = refused.start("gateway", PORT=port)
    assert port in line
    assert "address already in use" in line or "port is already allocated" in line


def test_a_missing_file_of_secrets(refused: Refused, tmp_path: Path) -> None:
    refused.secrets()
    missing = str(tmp_path / "secret")
    assert missing in refused.start("courier", WEBHOOK_SECRETS_FILE=missing)


def test_a_file_of_secrets_that_the_courier_may_not_read(refused: Refused, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("whsec_x", encoding="utf-8")
    secret.chmod(0o600)
    refused.secrets()
    environment = {"WEBHOOK_SECRETS_FILE": str(secret), "VULTUS_WEBHOOK_SECRETS": ""}
    assert refused.start("courier", **environment) == ""
    assert wait_for(lambda: "start.refused" in refused.last_line("courier", **environment), seconds=60)
    assert "cannot be read (Permission denied)" in refused.last_line("courier", **environment)


def test_an_image_that_was_not_built(refused: Refused) -> None:
    assert "No such image: vultus-gateway:missing" in refused.start("gateway", TAG="missing")


def test_a_client_without_buildkit(stack: ComposeStack) -> None:
    run = subprocess.run(
        [DOCKER, "build", "--quiet", "--file", "Dockerfile.api", "."], cwd=ROOT,
        env={**stack.environment, "DOCKER_BUILDKIT": "0"}, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode
    assert "requires BuildKit" in run.stderr


def test_a_client_without_the_compose_plugin(tmp_path: Path) -> None:
    """As Debian's `docker.io` installs it; the `docker-compose` package beside it is version 1, which is no plugin."""
    (tmp_path / "docker").symlink_to(DOCKER)
    environment = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    if not subprocess.run([DOCKER, "compose", "version"], env=environment, capture_output=True, check=False).returncode:
        pytest.skip("this machine's client has the plugin")
    run = subprocess.run(
        [sys.executable, "-m", "tools.containers.preflight"],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert run.returncode == 1
    assert "`docker compose` does not run; install the Compose plugin, version 2.24.4 or newer" in run.stdout

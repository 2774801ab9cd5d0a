"""`make preflight` names each thing that keeps the compose stack from starting, and says what to do, in one line."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.containers import ROOT
from tools.ports import LOOPBACK, free_port, free_ports

CLIENT = """\
#!/bin/sh
case "$*" in
  "compose version --short") echo "$COMPOSE_VERSION" ;;
  "compose "*) shift; exec {compose} "$@" ;;
  "buildx version") [ -z "$NO_BUILDX" ] ;;
  info) [ -z "$NO_DAEMON" ] ;;
esac
"""
"""A Docker client of a machine as the environment describes it, with the real Docker Compose."""
SECRETS = "deploy/compose.secrets.yml"
MODELS = """\
services:
  worker:
    volumes: !override
      - {{type: bind, source: "{folder}", target: /models, read_only: true, bind: {{create_host_path: false}}}}
"""


class Machine:
    """A machine on which everything is as it should be."""

    def __init__(self, folder: Path) -> None:
        client = folder / "docker"
        client.write_text(CLIENT.format(compose=Path(sys.executable).parent / "docker-compose"), encoding="utf-8")
        client.chmod(0o755)
        self.models = folder / "models"
        self.models.mkdir()
        self.models.chmod(0o755)
        (folder / "models.yml").write_text(MODELS.format(folder=self.models), encoding="utf-8")
        self.files = ["docker-compose.yml", "docker-compose.cpu.yml", str(folder / "models.yml")]
        self.settings = {
            "PATH": f"{folder}:/usr/bin:/bin",
            "PORT": str(free_port()),
            "COMPOSE_DISABLE_ENV_FILE": "1",
            "COMPOSE_VERSION": "2.24.4",
        }

    def preflight(self, **settings: str) -> list[str]:
        """Return the lines of the command."""
        environment = {**self.settings, "COMPOSE_FILE": ":".join(self.files), **settings}
        command = [sys.executable, "-m", "tools.containers.preflight"]
        run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert run.stderr == ""
        lines = [line.removeprefix("preflight: ") for line in run.stdout.splitlines()]
        assert run.returncode == int(lines != ["ready for `docker compose up`"])
        return lines


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_machine_without_an_env_file_is_ready(machine: Machine) -> None:
    assert machine.preflight() == ["ready for `docker compose up`"]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"PATH": "/nowhere"}, "there is no Docker client; install Docker Engine and its Compose plugin"),
        (
            {"COMPOSE_VERSION": ""},
            "`docker compose` does not run; install the Compose plugin, version 2.24.4 or newer",
        ),
        ({"COMPOSE_VERSION": "2.24.3"}, "Docker Compose 2.24.3 is too old; install 2.24.4 or newer"),
        ({"COMPOSE_VERSION": "v2.9.0"}, "Docker Compose v2.9.0 is too old; install 2.24.4 or newer"),
        ({"NO_BUILDX": "1"}, "the Docker client cannot build with BuildKit; install its buildx plugin"),
        ({"DOCKER_BUILDKIT": "0"}, "DOCKER_BUILDKIT turns BuildKit off, which the Dockerfiles need; unset it"),
        ({"NO_DAEMON": "1"}, "no Docker daemon answers; start it, or set DOCKER_HOST"),
    ],
)
def test_a_client_that_cannot_build_or_start(machine: Machine, settings: dict[str, str], line: str) -> None:
    assert machine.preflight(**settings) == [line]


def test_a_missing_folder_of_models(machine: Machine) -> None:
    machine.models.rmdir()
    assert machine.preflight() == [f"the folder of models {machine.models} is missing; run `make setup`"]


@pytest.mark.parametrize("kind", ["folder", "file", "link to nothing"])
def test_models_that_the_worker_may_not_read(machine: Machine, kind: str) -> None:
    path = machine.models / "compact"
    match kind:
        case "folder":
            path.mkdir(mode=0o700)
        case "file":
            path.touch(mode=0o600)
        case _:
            path.symlink_to("nowhere")
    line = f"user 10001:10001 cannot read {machine.models}; run `chmod -R a+rX {machine.models}`"
    assert machine.preflight() == [line]


def test_a_port_in_use(machine: Machine) -> None:
    with socket.create_server((LOOPBACK, 0)) as taken:
        port = str(taken.getsockname()[1])
        (line,) = machine.preflight(PORT=port)
    assert line.startswith(f"port {port} is in use")
    assert "set PORT" in line


def test_a_range_with_a_free_port(machine: Machine) -> None:
    first = free_ports(2)[0]
    with socket.create_server((LOOPBACK, first)):
        assert machine.preflight(PORT=f"{first}-{first + 1}") == ["ready for `docker compose up`"]


def test_a_missing_file_of_secrets(machine: Machine, tmp_path: Path) -> None:
    machine.files.append(SECRETS)
    missing = tmp_path / "secret"
    line = f"the secrets file {missing} is missing; create it, or set WEBHOOK_SECRETS_FILE"
    assert machine.preflight(WEBHOOK_SECRETS_FILE=str(missing)) == [line]


def test_a_file_of_secrets_that_the_courier_may_not_read(machine: Machine, tmp_path: Path) -> None:
    machine.files.append(SECRETS)
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    line = f"user 10001:10001 cannot read {secret}; run `chown 10001:10001 {secret}`"
    assert machine.preflight(WEBHOOK_SECRETS_FILE=str(secret)) == [line]


def test_files_that_compose_refuses(machine: Machine) -> None:
    (line,) = machine.preflight(COMPOSE_FILE="missing.yml")
    assert "missing.yml" in line

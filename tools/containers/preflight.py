"""Print one line for each thing that keeps Docker Compose from starting the stack here: `make preflight`.

Compose itself reads `.env` and `COMPOSE_FILE` and resolves the files. Runs with any `python3`.
"""

import errno
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tools.setup import ROOT

OLDEST: Final = (2, 24, 4)
"""`!reset` in docker-compose.cpu.yml needs it."""
PORTS: Final = "PORT (with the proxy HTTP_PORT and HTTPS_PORT)"


class PreflightError(Exception):
    """Nothing more can be checked; the message says what to do."""


def main() -> int:
    """Print every problem; the exit status is 1 if there is one."""
    lines = []
    try:
        lines += problems()
    except PreflightError as error:
        lines.append(str(error))
    for line in lines or ["ready for `docker compose up`"]:
        print(f"preflight: {line}")
    return int(bool(lines))


def problems() -> list[str]:
    """Return each problem and what to do about it.

    Raises:
        PreflightError: a problem that hides the others.
    """
    if shutil.which("docker") is None:
        msg = "there is no Docker client; install Docker Engine and its Compose plugin"
        raise PreflightError(msg)
    _check_version()
    found = [*_builds()]
    services, secrets = _composition()
    for service in services.values():
        found += [*_models(service), *_secrets(service, secrets), *_ports(service)]
    return list(dict.fromkeys(found))


def _docker(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)


def _check_version() -> None:
    needed = ".".join(map(str, OLDEST))
    run = _docker("compose", "version", "--short")
    version = re.match(r"v?(\d+)\.(\d+)\.(\d+)", run.stdout)
    if run.returncode or version is None:
        msg = f"`docker compose` does not run; install the Compose plugin, version {needed} or newer"
        raise PreflightError(msg)
    if tuple(map(int, version.groups())) < OLDEST:
        msg = f"Docker Compose {run.stdout.strip()} is too old; install {needed} or newer"
        raise PreflightError(msg)


def _builds() -> Iterator[str]:
    if os.environ.get("DOCKER_BUILDKIT") in {"0", "false"}:
        yield "DOCKER_BUILDKIT turns BuildKit off, which the Dockerfiles need; unset it"
    if _docker("buildx", "version").returncode:
        yield "the Docker client cannot build with BuildKit; install its buildx plugin"
    if _docker("info").returncode:
        yield "no Docker daemon answers; start it, or set DOCKER_HOST"


def _composition() -> tuple[dict[str, Any], dict[str, Any]]:
    run = _docker("compose", "config", "--format", "json")
    if run.returncode:
        msg = run.stderr.strip().splitlines()[-1]
        raise PreflightError(msg)
    composition = json.loads(run.stdout)
    return composition["services"], composition.get("secrets", {})


def _models(service: dict[str, Any]) -> Iterator[str]:
    for mount in service.get("volumes", []):
        if (mount["type"], mount["target"]) != ("bind", "/models"):
            continue
        folder = Path(mount["source"])
        if not folder.is_dir():
            yield f"the folder of models {folder} is missing; run `make setup`"
        elif not all(_readable(path, service) for path in (folder, *folder.rglob("*"))):
            yield f"user {service['user']} cannot read {folder}; run `chmod -R a+rX {folder}`"


def _secrets(service: dict[str, Any], secrets: dict[str, Any]) -> Iterator[str]:
    for secret in service.get("secrets", []):
        file = Path(secrets[secret["source"]]["file"])
        if not file.is_file():
            yield f"the secrets file {file} is missing; create it, or set WEBHOOK_SECRETS_FILE"
        elif not _readable(file, service):
            yield f"user {service['user']} cannot read {file}; run `chown {service['user']} {file}`"


def _readable(path: Path, service: dict[str, Any]) -> bool:
    """Return whether the user of a container may read a file, or list and enter a folder."""
    try:
        status = path.stat()
    except OSError:  # a link to nothing
        return False
    user, group = map(int, service["user"].split(":"))
    shift = 6 if status.st_uid == user else 3 if status.st_gid == group else 0
    needed = 0o5 if path.is_dir() else 0o4
    return status.st_mode >> shift & needed == needed


def _ports(service: dict[str, Any]) -> Iterator[str]:
    for port in service.get("ports", []):
        first, _, last = port["published"].partition("-")
        numbers = range(int(first), int(last or first) + 1)
        if all(_in_use(port.get("host_ip", ""), number) for number in numbers):
            yield f"port {port['published']} is in use; stop what listens there (this stack?), or set {PORTS}"


def _in_use(host: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            return error.errno == errno.EADDRINUSE
    return False


if __name__ == "__main__":
    sys.exit(main())

"""The Docker client, as a command."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

DOCKER: Final = next((path for path in ("/usr/bin/docker", shutil.which("docker")) if path and Path(path).exists()), "")
"""The packaged client first: a wrapper elsewhere on the path may have no BuildKit."""

REMEDIES: Final = {
    "no space left on device": "free space, for example with `docker builder prune`, and try again",
    "requires BuildKit": "unset DOCKER_BUILDKIT, and install docker-buildx",
    "buildx": "install docker-buildx",
    "connect to the Docker daemon": "start it, or set DOCKER_HOST",
}
"""Words in what the client printed, and what to do about it."""


class ContainersError(Exception):
    """A container command failed; the message says what to do."""


class NoContainersError(ContainersError):
    """This machine cannot run containers; the message says what is missing."""


def docker(*arguments: str, environment: Mapping[str, str]) -> str:
    """Run the Docker client and return what it printed.

    Raises:
        ContainersError: the client failed.
    """
    run = subprocess.run([DOCKER, *arguments], env=environment, capture_output=True, text=True, check=False)
    if run.returncode:
        msg = f"docker {arguments[0]} failed: {_reason(run.stderr)}"
        raise ContainersError(msg)
    return run.stdout.strip()


def _reason(output: str) -> str:
    """Return the line of a known failure and what to do about it, or the last lines of an unknown one."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for words, remedy in REMEDIES.items():
        for line in lines:
            if words in line:
                return f"{line.removesuffix('.')}; {remedy}"
    return " / ".join(lines[-5:])


def client_environment() -> dict[str, str]:
    """Return the environment of a client that builds with BuildKit."""
    return {**os.environ, "DOCKER_BUILDKIT": "1"}


def reachable(environment: Mapping[str, str]) -> bool:
    """Return True if a daemon answers."""
    if not DOCKER:
        return False
    return not subprocess.run([DOCKER, "info"], env=environment, capture_output=True, check=False).returncode


def say(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"containers: {line}\n")
    sys.stdout.flush()

"""A Docker daemon: one that answers, or one of our own in namespaces that end with it."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tools.containers.client import NoContainersError, client_environment, reachable
from tools.service import leash
from tools.setup import ROOT

DATA: Final = ROOT / ".data" / "containers"
NEEDED: Final = ("dockerd", "mmdebstrap", "iptables", "slirp4netns", "unshare", "nsenter", "ip")
PACKAGES: Final = "docker.io mmdebstrap iptables slirp4netns iproute2"
START: Final = 60.0
"""Seconds until the daemon must answer."""
STOP: Final = 60.0
"""Seconds until a daemon that was told to stop must have ended."""
CGROUPS: Final = Path("/sys/fs/cgroup")
INSIDE: Final = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
ip link set lo up
over=
trap 'over=1; kill "$daemon"' TERM
while [ -z "$over" ]; do
  rm -f "$1/pid"
  dockerd --data-root "$1/data" --exec-root "$1/exec" --pidfile "$1/pid" -H "unix://$1/sock" \
    --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "/$2" &
  daemon=$!
  wait "$daemon" || wait "$daemon"
done
"""
"""What the first process of the namespaces runs: the daemon, again whenever it stops without a failure."""


@dataclass(frozen=True, slots=True)
class Daemon:
    """How to reach the daemon."""

    environment: Mapping[str, str]
    """Of a Docker client."""
    prefix: tuple[str, ...] = ()
    """Put before a command that must reach published ports and containers."""
    supervisor: int | None = None
    """The process that restarts our own daemon."""


@contextmanager
def daemon() -> Iterator[Daemon]:
    """Yield a daemon that answers. One that was started here has ended afterwards, with everything in it.

    Raises:
        NoContainersError: no daemon answers and none can be started.
    """
    environment = client_environment()
    if reachable(environment):
        yield Daemon(environment)
        return
    missing = [name for name in NEEDED if shutil.which(name) is None]
    if os.geteuid() or missing:
        msg = f"no Docker daemon answers; start one, or as root: apt-get install -y --no-install-recommends {PACKAGES}"
        raise NoContainersError(msg)
    with own_daemon(DATA) as started:
        yield started


@contextmanager
def own_daemon(folder: Path) -> Iterator[Daemon]:
    """Start a daemon in namespaces of its own, with everything that it keeps in a folder.

    Raises:
        NoContainersError: it does not start.
    """
    folder.mkdir(parents=True, exist_ok=True)
    environment = {**client_environment(), "DOCKER_HOST": f"unix://{folder}/sock"}
    cgroup = f"vultus-containers-{os.getpid()}"
    namespaces = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child"]
    processes: list[subprocess.Popen[bytes]] = []
    with (folder / "daemon.log").open("w", encoding="utf-8") as log:

        def start(*command: str) -> subprocess.Popen[bytes]:
            processes.append(subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=leash))  # noqa: PLW1509 - one C call
            return processes[-1]

        try:
            outer = start(*namespaces, "bash", "-c", INSIDE, "dockerd", str(folder), cgroup)
            _wait(outer, environment, log=folder / "daemon.log")
            (inner,) = children(outer.pid)
            start("slirp4netns", "--configure", "--mtu=65520", "--disable-host-loopback", str(inner), "tap0")
            yield Daemon(environment, ("nsenter", "--target", str(inner), "--net"), supervisor=inner)
            os.kill(inner, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                outer.wait(STOP)
        finally:
            for process in reversed(processes):
                process.kill()
                process.wait()
            remove_cgroups(cgroup)


def children(pid: int) -> list[int]:
    """Return the ids of a process's children."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def remove_cgroups(name: str) -> None:
    """Remove the control groups of a daemon that has ended; each is an empty folder by then."""
    for folder in [*CGROUPS.glob(f"{name}/"), *CGROUPS.glob(f"*/{name}/")]:
        for below in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
            below.rmdir()
        folder.rmdir()


def _wait(process: subprocess.Popen[bytes], environment: Mapping[str, str], *, log: Path) -> None:
    deadline = time.monotonic() + START
    while not reachable(environment):
        if process.poll() is not None or time.monotonic() > deadline:
            msg = f"dockerd does not start; the reason is at the end of {log}"
            raise NoContainersError(msg)
        time.sleep(0.3)

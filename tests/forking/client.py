"""What stands in for `subprocess.Popen` when a service is started."""

import io
import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tools.service import leash
from tools.setup import ROOT

ENVIRONMENT: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
"""What the services set before they import libraries, and what `tools/stack.py` gives them."""

KINDS: Final = {
    "api.app": "gateway",
    "celery": "worker",
    "tests.integration.odd_courier": "courier",
    "tests.integration.scripted_gateway": "gateway",
    "worker.courier": "courier",
}
"""The kind of service of each module. They are apart, so that no service knows the metrics of another."""

SKEWED: Final = "tests.chaos.odd_clock"
"""Runs the module that follows it with a clock that can be shifted."""


class Forked:
    """A process that the server forked: the part of `subprocess.Popen` that a service uses."""

    def __init__(self, pid: int, *, output: int, status: int) -> None:
        self.pid = pid
        self.stdin = None
        self.stdout: io.TextIOWrapper | None = os.fdopen(output, encoding="utf-8", errors="replace")
        self.returncode: int | None = None
        self._status = status
        self._lock = threading.Lock()

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        with self._lock:
            if self.returncode is None and self._has_ended(0):
                self._read()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the process to end and return its exit status.

        Raises:
            subprocess.TimeoutExpired: it is still running.
        """
        if self.returncode is None and not self._has_ended(timeout):
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return self.poll() or 0

    def _has_ended(self, seconds: float | None) -> bool:
        status = select.poll()  # unlike `select`, for any number of open files
        status.register(self._status, select.POLLIN)
        return bool(status.poll(None if seconds is None else math.ceil(1000 * seconds)))

    def _read(self) -> None:
        said = os.read(self._status, 16)
        os.close(self._status)
        self.returncode = int(said) if said else -signal.SIGKILL  # no word: the server ended, and its children with it


class ForkServer:
    """A process from which services of one kind are forked; it starts with the first of them.

    Args:
        kind: a value of `KINDS`.
        skewed: whether their clock can be shifted, which it must be before their libraries are imported.
    """

    def __init__(self, kind: str, *, skewed: bool = False) -> None:
        self._arguments = [kind, SKEWED] if skewed else [kind]
        self._requests: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def fork(self, command: Sequence[str], environment: Mapping[str, str]) -> Forked:
        """Start the module that a command for this interpreter names."""
        requests = self._requests or self._start()
        message = json.dumps({"command": list(command), "environment": dict(environment)}).encode()
        output, output_end = os.pipe2(os.O_CLOEXEC)
        status, status_end = os.pipe2(os.O_CLOEXEC)
        socket.send_fds(requests, [message], [output_end, status_end])
        os.close(output_end)
        os.close(status_end)
        return Forked(int(requests.recv(16)), output=output, status=status)

    def _start(self) -> socket.socket:
        self._requests, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.forking.server", str(other.fileno()), *self._arguments],
                pass_fds=[other.fileno()],
                cwd=ROOT,
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                preexec_fn=leash,  # noqa: PLW1509 - one C call that allocates nothing
            )
        return self._requests

    def stop(self) -> None:
        """End the server, and with it what it has forked."""
        if self._requests is not None and self._process is not None:
            self._requests.close()
            self._process.wait(10)


class Launcher:
    """Starts services, forked where their kind is known."""

    def __init__(self) -> None:
        self._servers = {
            (kind, skewed): ForkServer(kind, skewed=skewed) for kind in set(KINDS.values()) for skewed in (False, True)
        }

    def launch(self, command: Sequence[str], *, env: Mapping[str, str], **more: Any) -> Any:
        """Start a process: forked if it is a service of ours, else as `subprocess.Popen` does."""
        if list(command[:2]) == [sys.executable, "-m"]:
            skewed = command[2] == SKEWED
            kind = KINDS.get(command[3] if skewed else command[2])
            if kind is not None:
                return self._servers[kind, skewed].fork(command, env)
        return subprocess.Popen(command, env=env, **more)

    def stop(self) -> None:
        """End all servers."""
        for server in self._servers.values():
            server.stop()

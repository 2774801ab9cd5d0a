"""One child process of the local stack: it dies with its parent, its output is forwarded, and it is stopped cleanly."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final

PR_SET_PDEATHSIG: Final = 1
BACKOFF: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds before a service that exited is restarted; the last value repeats."""
SETTLED: Final = 10.0
"""Seconds of uptime after which earlier failures no longer count."""

Sink = Callable[[str, str], None]
_libc = ctypes.CDLL(None) if sys.platform == "linux" else None


def leash() -> None:
    """Make the child die with its parent, even if the parent is killed, so that no process is left running."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@dataclass
class Service:
    """A process that is restarted if it exits."""

    launch: ClassVar[Callable[..., Any]] = subprocess.Popen
    """Starts the process; the tests start theirs faster (`tests/forking`)."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    sink: Sink
    stdin: str = ""
    grace: float = 10.0
    """Seconds between SIGTERM and SIGKILL."""
    keep: Callable[[str], bool] = field(default=lambda _line: True)
    """Selects the lines to show."""
    process: subprocess.Popen[str] | None = None
    failures: int = 0
    started_at: float = 0.0
    restart_at: float | None = None
    last_lines: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None

    def start(self) -> None:
        """Start the process. Call from the main thread only: the leash is tied to the thread that forks."""
        self.restart_at = None
        self.started_at = time.monotonic()
        self.process = self.launch(
            self.command,
            env=dict(self.environment),
            stdin=subprocess.PIPE if self.stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # Ctrl-C reaches only the supervisor, which stops all services in order
            preexec_fn=leash,  # one C call that allocates nothing
        )
        if self.stdin and self.process.stdin:
            with contextlib.suppress(BrokenPipeError), self.process.stdin as pipe:
                pipe.write(self.stdin)
        self._reader = threading.Thread(target=self._read, args=(self.process,), daemon=True)
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        if process.stdout is None:
            return
        with process.stdout as lines:
            for line in lines:
                text = line.rstrip()
                if text and self.keep(text):
                    self.last_lines = [*self.last_lines[-9:], text]
                    self.sink(self.name, text)

    @property
    def pid(self) -> int:
        """ID of the running process.

        Raises:
            ProcessLookupError: it was never started.
        """
        if self.process is None:
            raise ProcessLookupError(self.name)
        return self.process.pid

    def exit_code(self) -> int | None:
        """Return the exit status, or None while it runs or if it was never started."""
        return self.process.poll() if self.process else None

    def revive(self) -> None:
        """Restart the process if it has exited, after a pause that grows with repeated failures."""
        code = self.exit_code()
        if code is None:
            return
        now = time.monotonic()
        if self.restart_at is None:
            self.failures = 0 if now - self.started_at > SETTLED else self.failures
            pause = BACKOFF[min(self.failures, len(BACKOFF) - 1)]
            self.failures += 1
            self.restart_at = now + pause
            self.sink("stack", f"{self.name} exited ({describe(code)}); restarting it in {pause:g} s")
        elif now >= self.restart_at:
            self.start()

    def signal(self, number: int) -> None:
        """Send a signal if the process is still running."""
        if self.process and self.process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.process.pid, number)

    def wait(self, seconds: float) -> bool:
        """Wait for the process to exit; return whether it has."""
        if self.process is None:
            return True
        try:
            self.process.wait(timeout=max(0.0, seconds))
        except subprocess.TimeoutExpired:
            return False
        if self._reader:
            self._reader.join(timeout=2)
        return True

    def stop(self) -> None:
        """Send SIGTERM, then SIGKILL after the grace period."""
        self.signal(signal.SIGTERM)
        if not self.wait(self.grace):
            self.sink("stack", f"{self.name} did not stop within {self.grace:g} s; killing it")
            self.signal(signal.SIGKILL)
            self.wait(5)


def describe(code: int) -> str:
    """Describe an exit status, such as `exit 2` or `killed by SIGKILL`."""
    if code >= 0:
        return f"exit {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"

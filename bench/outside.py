"""What a client sees: the whole service through HTTP, queue and worker, beside the service to compare with."""

import contextlib
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tools.service import Service
from tools.stack import Stack, free_port

Lines = list[str]


@contextmanager
def vultus(models_dir: Path, *, workers: int = 1, **settings: str) -> Iterator[Stack]:
    """The whole service as `make up` starts it, warmed; `settings` without their prefix."""
    with tempfile.TemporaryDirectory(prefix="vultus-bench-") as folder:
        stack = Stack(
            data=Path(folder),
            port=free_port(),
            workers=workers,
            settings={
                "VULTUS_PACK": "compact",
                "VULTUS_MODELS_DIR": str(models_dir),
                "VULTUS_LOG_LEVEL": "warning",
                **{f"VULTUS_{name.upper()}": value for name, value in settings.items()},
            },
            sink=lambda name, line: print(f"{name} | {line}", file=sys.stderr),
        )
        with stack:
            if workers:
                stack.wait_ready(120)
            else:
                stack.wait_gateway(60)
            yield stack


@contextmanager
def classic(models: Path) -> Iterator[tuple[int, int]]:
    """The synchronous service over the original models of a pack: its port and its process."""
    port = free_port()
    lines: Lines = []
    service = Service(
        "classic",
        [sys.executable, "-m", "uvicorn", "bench.classic:app", "--host", "127.0.0.1", "--port", str(port),
         "--log-level", "warning", "--no-access-log"],
        {**os.environ, "CLASSIC_MODELS": str(models.absolute()), "ORT_DISABLE_TELEMETRY": "1"},
        lambda _, line: lines.append(line),
    )  # fmt: skip
    service.start()
    try:
        _wait_for(f"http://127.0.0.1:{port}/health", service, lines)
        yield port, service.pid
    finally:
        service.stop()


def memory_mib(pid: int) -> float:
    """Resident memory of a process, in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    return 0.0


def processor_seconds(pid: int) -> float:
    """Processor seconds that a process has used so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def processor_seconds_of(stack: Stack) -> dict[str, float]:
    """Processor seconds that each process of a stack has used so far; clients are this process."""
    spent = {service.name: processor_seconds(service.pid) for service in stack.services}
    return {**spent, "clients": time.process_time()}


def own_seconds(job: dict[str, Any]) -> float:
    """Seconds that the engine itself spent on a job: its stages, without waiting."""
    return sum(stages(job).values()) / 1000


def stages(job: dict[str, Any]) -> dict[str, float]:
    """Milliseconds of each stage that a job went through, without waiting."""
    waits = {"queue_ms", "total_ms"}
    return {name: value for name, value in job["metrics"].items() if name not in waits and value is not None}


def _wait_for(url: str, service: Service, lines: Lines) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if service.exit_code() is not None:
            raise RuntimeError("the service to compare with ended at start: " + " / ".join(lines[-3:]))
        with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=2):  # noqa: S310 - our own loopback URL
            return
        time.sleep(0.1)
    raise TimeoutError(url)

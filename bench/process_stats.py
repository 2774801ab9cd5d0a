"""Starts what a client talks to, and looks at its processes: the whole service, and the one to compare with."""

import contextlib
import os
import sys
import tempfile
import time
import urllib.error
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tools.loopback import urlopen
from tools.ports import free_port
from tools.service import Service
from tools.setup import models_dir
from tools.stack import Stack
from worker.engine.library_files import library_pack
from worker.packs.manifests import NEEDED

WORKER: Final = "worker.app"
QUIET: Final = ("warning", "error", "critical")
WAITS: Final = frozenset({"queue_ms", "total_ms"})


@dataclass(frozen=True, slots=True)
class Classic:
    """The synchronous service while it runs."""

    port: int
    pid: int


@contextmanager
def vultus(*, workers: int = 1, app: str = WORKER, **settings: str) -> Iterator[Stack]:
    """The whole service as `make up` starts it, log and all, warmed; `settings` without their prefix.

    `app` is another module with a worker's Celery application.
    """
    os.environ.pop("VULTUS_TEST_DATA", None)  # read by now (bench.pictures); a service refuses what is no setting
    with tempfile.TemporaryDirectory(prefix="vultus-bench-") as folder:
        stack = Stack(
            data=Path(folder),
            port=free_port(),
            workers=workers,
            settings={f"VULTUS_{name.upper()}": value for name, value in settings.items()},
            sink=_complain,
        )
        for service in stack.workers:
            service.command = [app if part == WORKER else part for part in service.command]
        with stack:
            if workers:
                stack.wait_ready(120)
            else:
                stack.wait_gateway(60)
            yield stack


@contextmanager
def classic() -> Iterator[Classic]:
    """The synchronous service over the original models of a pack, with uvicorn's default options."""
    port = free_port()
    pack = library_pack(models_dir(), os.environ.get("VULTUS_PACK", "compact"), roles=NEEDED)
    with pack.opened() as models:
        service = Service(
            "classic",
            [sys.executable, "-W", "ignore", "-m", "uvicorn", "bench.classic:app", "--host", "127.0.0.1",
             "--port", str(port)],
            {**os.environ, "CLASSIC_MODELS": models, "ORT_DISABLE_TELEMETRY": "1"},
            lambda _name, _line: None,
        )  # fmt: skip
        service.start()
        try:
            _wait_for(f"http://127.0.0.1:{port}/health", service)
            yield Classic(port, service.pid)
        finally:
            service.stop()


def parts(stack: Stack) -> dict[str, int]:
    """The processes of a stack."""
    return {service.name: service.pid for service in stack.services}


def processor_seconds(processes: Mapping[str, int]) -> dict[str, float]:
    """Processor seconds that each process has used so far, and the clients: this process."""
    return {**{name: _processor_seconds(pid) for name, pid in processes.items()}, "clients": time.process_time()}


def memory_mib(pid: int) -> dict[str, float]:
    """Memory of a process in MiB: `Rss` is what is resident, `Pss` counts pages that others share in part."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    words = [line.split() for line in lines]
    return {word[0].rstrip(":"): int(word[1]) / 1024 for word in words if word[0] in {"Rss:", "Pss:"}}


def own_ms(job: Mapping[str, Any]) -> float:
    """Milliseconds that the engine itself spent on a job: its stages, without waiting."""
    return sum(stages(job).values())


def stages(job: Mapping[str, Any]) -> dict[str, float]:
    """Milliseconds of each stage that a job went through, without waiting."""
    return {name: value for name, value in job["metrics"].items() if name not in WAITS and value is not None}


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _complain(name: str, line: str) -> None:
    """Of the service's log, pass on what is wrong."""
    if any(f"[{level}" in line for level in QUIET):
        print(f"{name} | {line}", file=sys.stderr)


def _wait_for(url: str, service: Service) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if service.exit_code() is not None:
            raise RuntimeError("the service to compare with ended at start: " + " / ".join(service.last_lines[-3:]))
        with contextlib.suppress(urllib.error.URLError, OSError), urlopen(url, timeout=2):
            return
        time.sleep(0.1)
    raise TimeoutError(url)

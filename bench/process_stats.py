"""Start the whole service and read the CPU time and memory of its processes."""

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from tools.ports import free_port
from tools.stack import Stack

WORKER: Final = "worker.app"
QUIET: Final = ("warning", "error", "critical")
WAITS: Final = frozenset({"queue_ms", "total_ms"})


@contextmanager
def vultus(*, workers: int = 1, app: str = WORKER, **settings: str) -> Iterator[Stack]:
    """Start the whole service as `make up` does, logging included, and warm it up.

    `settings` are named without their prefix; `app` is the module of the worker's Celery application.
    """
    os.environ.pop("VULTUS_TEST_DATA", None)  # not a setting; a service refuses to start with it
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


def parts(stack: Stack) -> dict[str, list[int]]:
    """Return the processes of a stack by name."""
    return {service.name: family(service.pid) for service in stack.services}


def family(pid: int) -> list[int]:
    """Return a process and all its descendants."""
    pids = [pid]
    for parent in pids:
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                pids += map(int, (thread / "children").read_text(encoding="ascii").split())
    return pids


def processor_seconds(processes: Mapping[str, Sequence[int]]) -> dict[str, float]:
    """Return the CPU seconds of each group of processes so far, and of the clients (this process)."""
    return {
        **{name: sum(map(_processor_seconds, pids)) for name, pids in processes.items()},
        "clients": time.process_time(),
    }


def cpu_ms_per_job(before: Mapping[str, float], after: Mapping[str, float], *, answered: int) -> dict[str, float]:
    """Return the CPU milliseconds per answered job of each group between two results of `processor_seconds`."""
    return {name: 1000 * (after[name] - before[name]) / answered for name in after}


def memory_mib(pid: int) -> dict[str, float]:
    """Return the memory of a process in MiB: `Rss` is resident, `Pss` divides shared pages between processes."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    words = [line.split() for line in lines]
    return {word[0].rstrip(":"): int(word[1]) / 1024 for word in words if word[0] in {"Rss:", "Pss:"}}


def own_ms(job: Mapping[str, Any]) -> float:
    """Return the milliseconds that the engine spent on a job: all stages except the queue."""
    return sum(stages(job).values())


def besides_engine_ms(answers: Iterable[tuple[float, Mapping[str, Any]]]) -> list[float]:
    """Return, for each pair of the seconds until its result and a job, the milliseconds besides the engine's own."""
    return [1000 * seconds - own_ms(job) for seconds, job in answers]


def stages(job: Mapping[str, Any]) -> dict[str, float]:
    """Return the milliseconds of each stage of a job, except the queue."""
    return {name: value for name, value in job["metrics"].items() if name not in WAITS and value is not None}


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _complain(name: str, line: str) -> None:
    """Print warnings and errors from the service's log."""
    if any(f"[{level}" in line for level in QUIET):
        print(f"{name} | {line}", file=sys.stderr)

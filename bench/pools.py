"""Compare two Celery pools for the engine: threads that share one engine, or one forked process per job.

`python -m bench.pools` prints the table of docs/decisions/0003. Both services run at the same time and take turns, so
that other work on the machine affects both. CPU time decides; the rate is for information.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tools.loopback import session
from tools.ports import free_port
from tools.setup import ROOT
from tools.stack import Stack

JOBS_AT_ONCE: Final = 2
CLIENTS: Final = 4
JOBS: Final = 24
ROUNDS: Final = 5
PICTURE: Final = ROOT / "docs" / "pictures" / "astronaut-faces.jpg"
TICKS: Final = os.sysconf("SC_CLK_TCK")


def prefork_app() -> Any:
    """Build a worker with a process per job: the same runtime, started in each child."""
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    from celery import signals  # noqa: PLC0415 - only needed if this module runs as a worker

    from shared.dispatch import RUN_NEXT, celery_app  # noqa: PLC0415
    from shared.observability import logs  # noqa: PLC0415
    from shared.settings import load  # noqa: PLC0415
    from worker import runtime, tasks  # noqa: PLC0415
    from worker.settings import WorkerSettings  # noqa: PLC0415

    settings = load(WorkerSettings)
    logs.configure(form=settings.log_format, level=settings.log_level)
    # Celery's default is 4 s; a child that loads models for longer would be killed and restarted forever.
    application = celery_app(
        settings.broker_url,
        worker_pool="prefork",
        worker_concurrency=JOBS_AT_ONCE,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=300,
    )
    application.task(name=RUN_NEXT, ignore_result=True)(tasks.run_next)
    signals.setup_logging.connect(lambda **_: None, weak=False)
    signals.worker_process_init.connect(lambda **_: runtime.start(settings), weak=False)
    return application


if os.environ.get("BENCH_POOL") == "prefork":
    app = prefork_app()


@dataclass
class Pool:
    """One running service and its measurements."""

    name: str
    stack: Stack
    cpu_ms: list[float] = field(default_factory=list)
    per_second: list[float] = field(default_factory=list)

    def processes(self) -> list[int]:
        """Return the process IDs of the worker and its children."""
        pid = self.stack.workers[0].pid
        children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)  # noqa: S607 - fixed command
        return [pid, *map(int, children.stdout.split())]

    def cpu_seconds(self) -> float:
        """Return the CPU seconds of the worker so far."""
        ticks = 0
        for pid in self.processes():
            fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / TICKS

    def mebibytes(self) -> float:
        """Return the worker's memory; pages shared between its processes count once."""
        total = 0
        for pid in self.processes():
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8").splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
        return total / 1024

    def round(self, *, jobs: int) -> None:
        """Run jobs from several clients."""
        cpu, begin = self.cpu_seconds(), time.perf_counter()
        with ThreadPoolExecutor(CLIENTS) as clients:
            list(clients.map(lambda _: self._job(), range(jobs)))
        self.cpu_ms.append((self.cpu_seconds() - cpu) / jobs * 1000)
        self.per_second.append(jobs / (time.perf_counter() - begin))

    def _job(self) -> None:
        with session() as direct:
            response = direct.post(
                f"{self.stack.url}/v1/jobs",
                data={"operation": "embed"},
                files={"image": PICTURE.read_bytes()},
                headers={"Prefer": "wait=30"},
                timeout=60,
            )
        if response.json()["status"] != "succeeded":
            raise RuntimeError(response.text)


def main() -> int:
    """Run both alternately and print the table."""
    pools = []
    with ExitStack() as running, tempfile.TemporaryDirectory() as folder:
        for name in ("threads", "prefork"):
            stack = Stack(
                data=Path(folder) / name,
                port=free_port(),
                settings={"VULTUS_PACK": "compact", "VULTUS_WORKER_THREADS": str(JOBS_AT_ONCE), "BENCH_POOL": name},
                sink=lambda _name, _line: None,
            )
            if name == "prefork":
                stack.workers[0].command = [
                    part.replace("worker.app", "bench.pools") for part in stack.workers[0].command
                ]
            running.enter_context(stack)
            stack.wait_ready(120)
            pools.append(Pool(name, stack))
        for pool in pools:
            pool.round(jobs=JOBS)  # warm-up; afterwards, both children of the prefork pool have run a job
            pool.cpu_ms.clear()
            pool.per_second.clear()
        for _ in range(ROUNDS):
            for pool in pools:
                pool.round(jobs=JOBS)
        print("| pool | processes | memory, MiB | CPU ms per job | jobs/s |")
        print("|---|---|---|---|---|")
        for pool in pools:
            cpu, rate = statistics.median(pool.cpu_ms), statistics.median(pool.per_second)
            print(f"| {pool.name} | {len(pool.processes())} | {pool.mebibytes():.0f} | {cpu:.0f} | {rate:.1f} |")
        ratios = [a / b for a, b in zip(pools[0].cpu_ms, pools[1].cpu_ms, strict=True)]
        print(f"\nCPU per job, threads / prefork, in the same round: median {statistics.median(ratios):.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Start the services that users would otherwise build, over the same models, each in its usual form.

`synchronous` is one FastAPI process; `model_server` is one such process per core, with a thread per model, which is how
InsightFace-REST serves; `plain_celery` is FastAPI, a prefork task per core and results in the store.
"""

import contextlib
import os
import signal
import sys
import tempfile
import time
import urllib.error
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bench.process_stats import family
from tools.loopback import urlopen
from tools.ports import LOOPBACK, free_port
from tools.service import Service
from tools.setup import models_dir
from tools.stack import Store, valkey
from worker.engine.library_files import library_pack
from worker.execution.threads import usable_cores
from worker.packs.manifests import NEEDED

READY: Final = 60.0
"""Seconds within which a service must respond."""


@dataclass(frozen=True, slots=True)
class RivalService:
    """A running service: its port and its processes by name."""

    port: int
    services: dict[str, Service]
    worker: str
    """Name of the process that runs the models."""

    def processes(self) -> dict[str, list[int]]:
        """Return the IDs of all processes and their children."""
        return {name: family(service.pid) for name, service in self.services.items()}

    def kill_worker(self) -> None:
        """Kill the process that runs the models and its children, as if their container were lost."""
        service = self.services[self.worker]
        for pid in family(service.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        service.wait(10)

    def start_worker(self) -> None:
        """Start that process again."""
        self.services[self.worker].start()


@contextmanager
def synchronous() -> Iterator[RivalService]:
    """Start one process with the default options of uvicorn and onnxruntime."""
    with _over_models() as environment:
        yield from _http(_uvicorn("bench.classic:app"), environment)


@contextmanager
def model_server() -> Iterator[RivalService]:
    """Start one process per core, each with its own models and one thread per model run."""
    with _over_models() as environment:
        command = [*_uvicorn("bench.classic:app"), "--workers", str(usable_cores())]
        yield from _http(command, {**environment, "CLASSIC_ONE_THREAD": "1"})


@contextmanager
def plain_celery() -> Iterator[RivalService]:
    """Start FastAPI, a prefork worker with a child per core, and one store for messages and results."""
    with _over_models() as environment, tempfile.TemporaryDirectory(prefix="vultus-bench-") as folder:
        store = Store("store", Path(folder), durable=False)
        with_store = {**environment, "RIVAL_STORE": store.url}
        worker = [sys.executable, "-W", "ignore", "-m", "celery", "-A", "bench.celery_service:app", "worker",
                  "--concurrency", str(usable_cores()), "--loglevel", "ERROR"]  # fmt: skip
        services = {
            "store": Service("store", [valkey(), "-"], dict(os.environ), _silent, stdin=store.configuration()),
            "worker": Service("worker", worker, with_store, _silent, grace=10),
        }
        services["store"].start()
        try:
            _wait_until(store.answers, services["store"])
            services["worker"].start()
            yield from _http(_uvicorn("bench.celery_service:web"), with_store, beside=services)
        finally:
            for service in reversed(services.values()):
                service.stop()


def _http(
    command: Sequence[str], environment: dict[str, str], *, beside: dict[str, Service] | None = None
) -> Iterator[RivalService]:
    port = free_port()
    service = Service("service", [*command, "--port", str(port)], environment, _silent)
    service.start()
    try:
        _wait_until(lambda: _healthy(port), service)
        services = {"service": service, **(beside or {})}
        yield RivalService(port, services, worker="worker" if beside else "service")
    finally:
        service.stop()


@contextmanager
def _over_models() -> Iterator[dict[str, str]]:
    pack = library_pack(models_dir(), os.environ.get("VULTUS_PACK", "compact"), roles=NEEDED)
    with pack.opened() as models:
        yield {**os.environ, "CLASSIC_MODELS": models, "ORT_DISABLE_TELEMETRY": "1"}


def _uvicorn(app: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "uvicorn", app, "--host", LOOPBACK]


def _healthy(port: int) -> bool:
    try:
        with urlopen(f"http://{LOOPBACK}:{port}/health", timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False


def _wait_until(condition: Callable[[], bool], service: Service) -> None:
    deadline = time.monotonic() + READY
    while not condition():
        if service.exit_code() is not None:
            raise RuntimeError(f"{service.name} exited during startup: " + " / ".join(service.last_lines[-3:]))
        if time.monotonic() > deadline:
            raise TimeoutError(service.name)
        time.sleep(0.05)


def _silent(_name: str, _line: str) -> None:
    """Ignore the log of a service that is only measured."""

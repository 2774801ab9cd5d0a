"""Where a storm takes place: a real stack with two gateways and several workers, supervised like any other."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import requests
from pydantic import SecretStr

from tools.service import Service
from tools.stack import LOOPBACK, Stack, free_port

LEASE: Final = 1.5
MAX_ATTEMPTS: Final = 5
WORKERS: Final = 3
SETTINGS: Final = {
    "VULTUS_ENGINE": "fake",
    "VULTUS_LEASE": str(LEASE),
    "VULTUS_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
    "VULTUS_WORKER_THREADS": "2",
    "VULTUS_DRAIN": "2",
    "VULTUS_JOB_TIME_LIMIT": "20",
    "VULTUS_RETRY_WINDOW": "0",
}


class Ground:
    """The running stack. A context manager: leaving it ends every process that it has started."""

    def __init__(self, data: Path) -> None:
        self.log: list[str] = []
        self.stack = Stack(data=data, port=free_port(), workers=WORKERS, settings=SETTINGS, sink=self._hear)
        for service in self.stack.workers:
            service.command = [
                part.replace("worker.app", "tests.integration.poisoned_worker") for part in service.command
            ]
        port = free_port()
        self._second = Service(
            "gateway-2",
            [sys.executable, "-m", "api.app"],
            {**self.stack.environment, "VULTUS_PORT": str(port)},
            self._hear,
        )
        self.urls = [self.stack.url, f"http://{LOOPBACK}:{port}"]

    def _hear(self, name: str, line: str) -> None:
        self.log.append(f"{name} | {line}")

    @property
    def gateways(self) -> list[Service]:
        """Both gateways."""
        return [self.stack.gateway, self._second]

    @property
    def broker_url(self) -> SecretStr:
        """Where the doorbells are."""
        return SecretStr(self.stack.broker.url)

    def __enter__(self) -> Self:
        """Start everything and wait until it works."""
        self.stack.__enter__()
        try:
            self._second.start()
            self.stack.wait_ready(60)
            self.supervise(lambda: all(map(_answers, self.urls)), seconds=30)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        self._second.stop()
        self.stack.__exit__(kind, error, trace)

    def supervise_once(self) -> None:
        """Start again whatever has ended."""
        self.stack.supervise_once()
        self._second.revive()

    def supervise(self, promise: Callable[[], bool], *, seconds: float) -> bool:
        """Supervise until it comes true; False where it does not in time."""
        deadline = time.monotonic() + seconds
        while not promise():
            if time.monotonic() > deadline:
                return False
            self.supervise_once()
            time.sleep(0.05)
        return True


def _answers(url: str) -> bool:
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False

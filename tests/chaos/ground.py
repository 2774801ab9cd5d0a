"""The stack of a storm: two of each process, three workers, and one of each behind a bad network."""

import contextlib
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import redis
import requests
from pydantic import SecretStr

from shared.ledger.connection import connect
from shared.webhooks.signing import new_secret
from tests.chaos.image_host import ImageHost
from tests.chaos.network import Line
from tools.ports import LOOPBACK, free_port
from tools.receiver import TO_THIS_MACHINE
from tools.service import Service
from tools.stack import Stack, Store

LEASE: Final = 1.5
MAX_ATTEMPTS: Final = 3
WORKERS: Final = 3
TIMEOUT: Final = 1.0
"""Seconds of one attempt of a courier."""
HOLD: Final = 3.0
"""Seconds without a sign of life after which another courier may take a courier's deliveries."""
RETRY_WINDOW: Final = 5.0
SETTINGS: Final = {
    "VULTUS_ENGINE": "fake",
    "VULTUS_LEASE": str(LEASE),
    "VULTUS_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
    "VULTUS_WORKER_THREADS": "2",
    "VULTUS_DRAIN": "2",
    "VULTUS_JOB_TIME_LIMIT": "20",
    "VULTUS_RETRY_WINDOW": str(RETRY_WINDOW),
    "VULTUS_IMAGE_URL_TIMEOUT": "1",
    "VULTUS_IMAGE_URL_ALLOW_HTTP": "true",
    "VULTUS_IMAGE_URL_ALLOW_PRIVATE": "true",
    **TO_THIS_MACHINE,
    "VULTUS_WEBHOOK_TIMEOUT": str(TIMEOUT),
    "VULTUS_WEBHOOK_HOLD": str(HOLD),
    "VULTUS_WEBHOOK_RETRIES": ",".join(["0.2", "0.5", "1", "1", *["2"] * 30]),
}
"""All other settings have their defaults. Short leases and attempts make a storm take minutes, not hours."""


class Ground:
    """The running stack. A context manager: leaving it ends every process that it started."""

    def __init__(self, data: Path, *, shards: int, seed: int) -> None:
        self.log: list[str] = []
        self.secret = new_secret()
        self.shards = shards
        self.clocks = data / "clocks"
        self.clocks.mkdir(parents=True)
        self.mines = data / "mines"
        self.mines.mkdir()
        self.images = ImageHost()
        settings = {
            **SETTINGS,
            "VULTUS_SHARDS": str(shards),
            "VULTUS_WEBHOOK_SECRETS": self.secret,
            "VULTUS_IMAGE_URL_HOSTS": self.images.address,
        }
        self.stack = Stack(data=data, port=free_port(), workers=WORKERS, settings=settings, sink=self._hear)
        ledger, _ = self.stack.stores
        ledger.command = ["env", "--ignore-signal=XFSZ", *ledger.command]  # a full disk is an error, not a signal
        for service in self.stack.workers:
            service.command = [part.replace("worker.app", "tests.chaos.odd_worker") for part in service.command]
        port = free_port()
        self._more = [
            Service(
                "gateway-2",
                self.stack.gateway.command,
                {**self.stack.environment, "VULTUS_PORT": str(port)},
                self._hear,
                grace=self.stack.gateway.grace,
            ),
            Service(
                "courier-2",
                self.stack.courier.command,
                self.stack.environment,
                self._hear,
                grace=self.stack.courier.grace,
            ),
        ]
        self.urls = [self.stack.url, f"http://{LOOPBACK}:{port}"]
        self.lines = [Line(self.stack.ledger.port, seed=seed), Line(self.stack.broker.port, seed=seed)]
        self._exits = contextlib.ExitStack()
        for service in [*self.gateways, *self.couriers, *self.stack.workers]:
            self._give_a_clock(service)
        for service in self.gateways:
            service.environment = {**service.environment, "CHAOS_MINES": str(self.mines)}

    def _give_a_clock(self, service: Service) -> None:
        interpreter, dash, *module = service.command
        service.command = [interpreter, dash, "tests.chaos.odd_clock", *module]
        service.environment = {**service.environment, "CHAOS_CLOCK": str(self.clocks / service.name)}

    def _hear(self, name: str, line: str) -> None:
        self.log.append(f"{name} | {line}")

    @property
    def gateways(self) -> list[Service]:
        """Both gateways."""
        return [self.stack.gateway, self._more[0]]

    @property
    def couriers(self) -> list[Service]:
        """Both couriers."""
        return [self.stack.courier, self._more[1]]

    def beside(self, name: str, command: Sequence[str], **environment: str) -> Service:
        """A process beside the stack with other settings; the caller ends it."""
        clock = {"CHAOS_CLOCK": str(self.clocks / name)}
        whole = [sys.executable, "-m", "tests.chaos.odd_clock", *command]
        return Service(name, whole, {**self.stack.environment, **clock, **environment}, self._hear)

    @property
    def services(self) -> list[Service]:
        """Every process of the service, and both stores."""
        return [*self.stack.services, *self._more]

    @property
    def broker_url(self) -> SecretStr:
        """URL of the broker."""
        return SecretStr(self.stack.broker.url)

    def ledger(self) -> redis.Redis:
        """A client of the whole ledger, for inspection."""
        return connect(SecretStr(self.stack.ledger.url))

    def __enter__(self) -> Self:
        """Start everything and wait until it works."""
        try:
            for line in self.lines:
                self._exits.enter_context(line)
            self._exits.enter_context(self.images)
            for service in [self.gateways[1], self.couriers[1], self.stack.workers[-1]]:
                service.environment = {**service.environment, **self._behind_the_lines()}
            self.stack.__enter__()
            for service in self._more:
                service.start()
            self.stack.wait_ready(60)
            self.supervise(lambda: all(map(answers, self.urls)), seconds=30)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _behind_the_lines(self) -> dict[str, str]:
        """The stores' addresses behind the bad network."""
        stores: list[tuple[str, Store, Line]] = [
            ("VULTUS_LEDGER_URL", self.stack.ledger, self.lines[0]),
            ("VULTUS_BROKER_URL", self.stack.broker, self.lines[1]),
        ]
        return {name: store.url.replace(f":{store.port}/", f":{line.port}/") for name, store, line in stores}

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything."""
        for line in self.lines:
            if line.port:
                line.clear()
        for service in self._more:
            service.stop()
        self.stack.__exit__(kind, error, trace)
        self._exits.close()

    def supervise_once(self) -> None:
        """Restart every process that has exited."""
        for service in self.services:
            service.revive()

    def supervise(self, promise: Callable[[], bool], *, seconds: float) -> bool:
        """Supervise until the condition holds; False if it does not in time."""
        deadline = time.monotonic() + seconds
        while not promise():
            if time.monotonic() > deadline:
                return False
            self.supervise_once()
            time.sleep(0.02)
        return True


def answers(url: str) -> bool:
    """Whether a gateway reports itself healthy."""
    try:
        return requests.get(f"{url}/health", timeout=2).ok
    except requests.RequestException:
        return False

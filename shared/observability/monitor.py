"""The monitoring port of a process: metrics, liveness and readiness."""

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
"""Seconds to receive one request."""

log = structlog.get_logger(__name__)


class Readiness(StrEnum):
    """Whether a process should receive work. Only `ready` is a 200. No state is a reason to restart the process."""

    LOADING = "loading"
    """Starting: models, or the store's file, are being loaded."""
    READY = "ready"
    DRAINING = "draining"
    """Stopping: it takes no new work and finishes its current work."""
    AWAY = "away"
    """The store is unavailable."""


class Monitor:
    """Serves `/metrics`, `/livez` and `/readyz` in dedicated threads while the context is open.

    `ready` is called for each `/readyz` and must be fast. With port 0 nothing is served.

    Raises (on entering):
        SettingsError: the port cannot be listened on.
    """

    def __init__(self, settings: SharedSettings, *, ready: Callable[[], Readiness]) -> None:
        self._address = (settings.metrics_host, settings.metrics_port)
        self._ready = ready
        self._server: _Server | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._address[1]

    def __enter__(self) -> Self:
        """Start listening."""
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
        """Stop listening."""
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@contextmanager
def watched(collector: Collector) -> Iterator[None]:
    """Include the collector in `/metrics` for the duration of the block."""
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
        """Ignore errors: the client has disconnected."""


class _Handler(BaseHTTPRequestHandler):
    timeout = PATIENCE
    server: _Server

    def do_GET(self) -> None:
        """Answer one request."""
        if self.path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._send(200, encode(REGISTRY), content_type)
        elif self.path == "/livez":
            self._send_status(200, "alive")
        elif self.path == "/readyz":
            readiness = self.server.ready()
            self._send_status(200 if readiness is Readiness.READY else 503, readiness.value)
        else:
            self._send_status(404, "not_found")

    def _send_status(self, status: int, word: str) -> None:
        self._send(status, json.dumps({"status": word}).encode(), "application/json")

    def _send(self, status: int, body: bytes, content_type: str) -> None:
        self.send_response_only(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing: requests arrive every few seconds."""

"""The receivers of a storm: they verify callbacks, accept most of them, and sometimes fail, hang or break off."""

import json
import random
import socket
import struct
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final, Self

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from tests.integration.partner import IDENTITY
from tools.ports import LOOPBACK

MOODS: Final = (
    (0.92, "takes"),
    (0.02, "500"),
    (0.01, "503"),
    (0.02, "breaks off"),
    (0.01, "hangs"),
    (0.02, "takes late"),
)
"""The share of each behavior."""
HANGS: Final = 1.5
"""Seconds: longer than a courier waits in a storm."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One complete request."""

    where: str
    """Name of the receiver and path."""
    id: str
    kind: str
    subject: str
    valid: bool
    taken: bool
    """Answered with success, in time."""
    at: float
    """Seconds since the epoch."""


class Receiver:
    """Listens on `host`. A `steady` receiver accepts everything at once. A context manager."""

    def __init__(self, name: str, *, secret: str, seed: int, steady: bool = False, host: str = LOOPBACK) -> None:
        self.name = name
        self.secret = secret
        self.receipts: list[Receipt] = []
        self.away = threading.Event()
        """Set while it answers everything with 503."""
        self._random = random.Random(f"{seed} {name}")  # noqa: S311 - repeatable moods, not a secret
        self._steady = steady
        self._lock = threading.Lock()
        self._taken: set[str] = set()
        self._heard = threading.Condition(self._lock)
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                receiver.receive(self)

            def log_message(self, *_: object) -> None:
                """The storm keeps its own records."""

        self._server = _Server((host, 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name=name, daemon=True)

    @property
    def url(self) -> str:
        """Its URL, to which a path may be added."""
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def __enter__(self) -> Self:
        """Start listening."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def taken(self, event: str, *, within: float) -> bool:
        """Whether an event has been accepted, or is within that time."""
        with self._heard:
            return self._heard.wait_for(lambda: event in self._taken, timeout=within)

    def _mood(self) -> str:
        if self.away.is_set():
            return "503"
        if self._steady:
            return "takes"
        with self._lock:
            weights = [weight for weight, _ in MOODS]
            return self._random.choices([mood for _, mood in MOODS], weights)[0]

    def receive(self, request: BaseHTTPRequestHandler) -> None:
        """Read one complete request, record it, and answer as the mood says."""
        body = request.rfile.read(int(request.headers["content-length"]))
        mood = self._mood()
        headers = {name.lower(): value for name, value in request.headers.items()}
        told = json.loads(body)
        receipt = Receipt(
            where=f"{self.name}{request.path}",
            id=headers[IDENTITY],
            kind=told["type"],
            subject=told["data"]["id"],
            valid=_holds(self.secret, body, headers),
            taken=mood in {"takes", "takes late"},
            at=time.time(),
        )
        with self._heard:
            self.receipts.append(receipt)
            if receipt.taken:
                self._taken.add(receipt.id)
                self._heard.notify_all()
        request.close_connection = True
        if mood == "hangs":
            time.sleep(HANGS)
        elif mood == "breaks off":
            request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        else:
            time.sleep(0.3 if mood == "takes late" else 0)
            request.send_response(204 if receipt.taken else int(mood))
            request.send_header("Content-Length", "0")
            request.end_headers()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_: object) -> None:
        """Ignore a courier that died or disconnected."""


def _holds(secret: str, body: bytes, headers: dict[str, str]) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True

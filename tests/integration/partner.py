"""A partner that receives callbacks as badly as partners do: each request gets the next scripted response."""

import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from standardwebhooks.webhooks import Webhook

from tools.ports import LOOPBACK

PAUSE: Final = 0.05
"""Seconds between two drops of a slow answer."""
IDENTITY: Final = "webhook-id"

Deed = Callable[["Partner", socket.socket], None]


@dataclass(frozen=True)
class ReceivedRequest:
    """One request, and when it was complete."""

    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers[IDENTITY]

    def verify(self, secret: str) -> None:
        """Verify it with the specification's own library, as a partner does; raises if it is invalid."""
        Webhook(secret).verify(self.body, self.headers)


def says(status: str, body: bytes = b"", **headers: object) -> Deed:
    """A plain answer."""
    fields = {"content_length": len(body), **headers}
    return raw(head(status, **fields) + body)


def head(status: str, **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def raw(*parts: bytes) -> Deed:
    """These bytes, then the end."""

    def answer(_: "Partner", peer: socket.socket) -> None:
        for part in parts:
            peer.sendall(part)

    return answer


def drips(first: bytes, drop: bytes = b"x") -> Deed:
    """These bytes, then drops without end."""

    def answer(partner: "Partner", peer: socket.socket) -> None:
        peer.sendall(first)
        while not partner.over.wait(PAUSE):
            peer.sendall(drop)

    return answer


def floods(first: bytes, drop: bytes = b"x") -> Deed:
    """These bytes, then as many more drops as the connection accepts."""
    flood = drop * (65_536 // len(drop))

    def answer(partner: "Partner", peer: socket.socket) -> None:
        peer.sendall(first)
        while not partner.over.is_set():
            peer.sendall(flood)
            partner.sent += len(flood)

    return answer


def resets(first: bytes = b"") -> Deed:
    """These bytes, then a reset of the connection."""

    def answer(_: "Partner", peer: socket.socket) -> None:
        peer.sendall(first)
        time.sleep(PAUSE)  # so that they arrive before it
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    return answer


def hangs(partner: "Partner", _: socket.socket) -> None:
    """No answer at all."""
    partner.over.wait(30)


def waits(partner: "Partner", peer: socket.socket) -> None:
    """A success as soon as the test opens the gate."""
    partner.gate.wait(30)
    peer.sendall(head("204 No Content"))


OK: Final = says("204 No Content")


class Partner:
    """Serves from threads until closed. Request n gets response n; the last response is repeated."""

    def __init__(self, *deeds: Deed, address: str = LOOPBACK, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[ReceivedRequest] = []
        self.connections = 0
        self.sent = 0
        self.names: list[str | None] = []
        """The server names that clients requested by TLS."""
        self.gate = threading.Event()
        self.over = threading.Event()
        self._deeds = deeds or (OK,)
        self._tls = tls
        if tls:
            tls.sni_callback = lambda _socket, name, _context: self.names.append(name)
        self._lock = threading.Lock()
        self._socket = socket.create_server((address, port))
        self.address = address
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str = "/hook", *, host: str | None = None) -> str:
        return f"{'https' if self._tls else 'http'}://{host or self.address}:{self.port}{path}"

    def wait(self, times: int = 1, *, within: float = 15) -> list[ReceivedRequest]:
        """The requests, as soon as there are this many."""
        deadline = time.monotonic() + within
        while len(self.requests) < times:
            assert time.monotonic() < deadline, f"{len(self.requests)} of {times} requests"
            time.sleep(0.01)
        return self.requests

    def close(self) -> None:
        self.over.set()
        self.gate.set()
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                peer, _ = self._socket.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        peer.settimeout(30)
        with suppress(OSError), peer:  # the courier disconnects when it has had enough
            stream = self._tls.wrap_socket(peer, server_side=True) if self._tls else peer
            with stream:
                request = _read(stream)
                if request is None:  # broken off, or the client speaks TLS here
                    stream.sendall(head("400 Bad Request"))
                    return
                with self._lock:
                    self.requests.append(request)
                    deed = self._deeds[min(len(self.requests), len(self._deeds)) - 1]
                deed(self, stream)


def _read(stream: socket.socket) -> ReceivedRequest | None:
    data = b""
    while b"\r\n\r\n" not in data:
        part = stream.recv(65_536)
        if not part or not (data + part).startswith(b"POST"[: len(data + part)]):
            return None
        data += part
    top, _, body = data.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        part = stream.recv(65_536)
        if not part:
            return None
        body += part
    return ReceivedRequest(first.split(" ")[1], headers, body)

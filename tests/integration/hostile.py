"""A hostile web server for downloads: each path misbehaves in its own way. It listens on loopback addresses."""

import itertools
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from tests.photos import ASTRONAUT
from tools.ports import LOOPBACK

FACE: Final = ASTRONAUT.read_bytes()
PAUSE: Final = 0.05
"""Seconds between two drops of a slow answer."""

Deed = Callable[["Hostile", socket.socket], None]


def _head(status: str = "200 OK", **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _plain(body: bytes, status: str = "200 OK", **headers: object) -> Deed:
    def answer(_: "Hostile", peer: socket.socket) -> None:
        peer.sendall(_head(status, content_length=len(body), **headers) + body)

    return answer


def _parts(parts: Callable[[], Iterable[bytes]], *, pause: float = 0.0) -> Deed:
    def answer(server: "Hostile", peer: socket.socket) -> None:
        for part in parts():
            peer.sendall(part)
            server.sent += len(part)
            time.sleep(pause)

    return answer


def _reset(_: "Hostile", peer: socket.socket) -> None:
    peer.sendall(_head(content_length=len(FACE)) + FACE[:1000])
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends a reset


def _silent(server: "Hostile", _: socket.socket) -> None:
    server.over.wait(20)


def _gate(server: "Hostile", peer: socket.socket) -> None:
    """Half of the picture now, the rest when the test opens the gate."""
    peer.sendall(_head(content_length=len(FACE)) + FACE[:1000])
    server.gate.wait(30)
    peer.sendall(FACE[1000:])


def _chunks(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


ENDLESS: Final = _chunks(b"\x89PNG" + b"\0" * 65_532)
DEEDS: Final[dict[str, Deed]] = {
    "/face.png": _plain(FACE),
    "/page.png": _plain(b"<!doctype html><title>No picture</title>", content_type="image/png"),
    "/cut.png": _plain(FACE[:-100]),
    "/empty.png": _plain(b""),
    "/missing.png": _plain(b"secret body", "404 Not Found"),
    "/busy.png": _plain(b"secret body", "503 Busy"),
    "/redirect.png": _plain(b"", "302 Found", location="/face.png"),
    "/gzip.png": _plain(b"\x1f\x8b" + b"\0" * 1000, content_encoding="gzip"),
    "/declares-much.png": _parts(lambda: [_head(content_length=10**12)]),
    "/lies-short.png": _parts(lambda: [_head(content_length=1000), FACE]),
    "/lies-long.png": _parts(lambda: [_head(content_length=len(FACE) + 1000), FACE]),
    "/endless.png": _parts(lambda: itertools.chain([_head(transfer_encoding="chunked")], itertools.repeat(ENDLESS))),
    "/drip.png": _parts(lambda: itertools.chain([_head(content_length=10**5)], itertools.repeat(b"x")), pause=PAUSE),
    "/drip-head.png": _parts(lambda: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.repeat(b"X")), pause=PAUSE),
    "/pieces.png": _parts(
        lambda: itertools.chain([_head(transfer_encoding="chunked")], itertools.repeat(_chunks(b"x") * 10_000))
    ),
    "/extension.png": _parts(
        lambda: itertools.chain([_head(transfer_encoding="chunked"), b"1;"], itertools.repeat(b"x" * 65_536))
    ),
    "/flood-informs.png": _parts(lambda: itertools.repeat(_head("103 Early Hints") * 1000)),
    "/informs.png": _parts(lambda: itertools.repeat(_head("103 Early Hints")), pause=PAUSE),
    "/garbage.png": _parts(lambda: [b"\x16\x03\x01 no HTTP at all\r\n\r\n"]),
    "/reset.png": _reset,
    "/silent.png": _silent,
    "/gate.png": _gate,
}


class Hostile:
    """Serves from threads until closed; `requests` lists the path and Host header of each request."""

    def __init__(self, address: str = LOOPBACK, *, port: int = 0, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[tuple[str, str]] = []
        self.connections = 0
        self.sent = 0
        """Bytes of answers in parts."""
        self.gate = threading.Event()
        self.over = threading.Event()
        self._tls = tls
        self._socket = socket.create_server((address, port))
        self.address = address
        self.port = int(self._socket.getsockname()[1])
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self, path: str, *, host: str | None = None) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{host or self.address}:{self.port}{path}"

    def was_requested(self, times: int) -> bool:
        return len(self.requests) >= times

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
        with suppress(OSError), peer:  # the peer leaves when it has had enough
            stream = self._tls.wrap_socket(peer, server_side=True) if self._tls else peer
            with stream:
                head = b""
                while b"\r\n\r\n" not in head:
                    part = stream.recv(65_536)
                    if not part:
                        return
                    head += part
                    if not head.startswith(b"GET "):
                        return  # the client speaks TLS here
                lines = head.decode().split("\r\n")
                path = lines[0].split(" ")[1].partition("?")[0]
                host = next(line[6:] for line in lines if line.startswith("Host: "))
                self.requests.append((path, host))
                DEEDS[path](self, stream)

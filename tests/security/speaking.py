"""Speaks HTTP by hand: sends raw bytes and reads the response."""

import json
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from tools.ports import LOOPBACK


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; status 0 if the connection was closed without one."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The response as a problem document, which it must be."""
        assert self.headers["content-type"] == "application/problem+json", self
        problem: dict[str, Any] = json.loads(self.body)
        assert problem["status"] == self.status
        assert {"type", "title", "detail", "code", "request_id"} <= set(problem)
        return problem


def read(line: socket.socket) -> Answer:
    """Read the response on this connection to its end."""
    held = b""
    while b"\r\n\r\n" not in held:
        part = _part(line)
        if not part:
            return Answer(0, {}, held)
        held += part
    head, _, body = held.partition(b"\r\n\r\n")
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (text.partition(":") for text in rest)}
    status = int(first.split(" ")[1])
    chunked = headers.get("transfer-encoding") == "chunked"
    length = int(headers.get("content-length", "0"))
    while (chunked and not body.endswith(b"0\r\n\r\n")) or (not chunked and len(body) < length):
        part = _part(line)
        if not part:
            break
        body += part
    return Answer(status, headers, body)


def _part(line: socket.socket) -> bytes:
    try:
        return line.recv(65_536)
    except ConnectionError:
        return b""


def ask(port: int, sent: bytes, *, patience: float = 60.0) -> Answer:
    """Send bytes on a new connection and read the response."""
    with socket.create_connection((LOOPBACK, port), timeout=patience) as line:
        with suppress(ConnectionError):  # refused before all of it was sent; there may be a response all the same
            line.sendall(sent)
        return read(line)

"""A load generator that costs little: raw keep-alive connections in one event loop."""

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import Any

from bench.pictures import Picture

BOUNDARY = "vultus-bench"


@dataclass(frozen=True, slots=True)
class Target:
    """Where requests go, and what each of them is."""

    port: int
    request: bytes


@dataclass(slots=True)
class Load:
    """What came of a load."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    """Seconds of each request that was answered within the window."""
    answered: int = 0
    """Requests that were answered at all, before the window and after it too."""
    bodies: list[bytes] = field(default_factory=list)
    """The last body of each client."""

    @property
    def rate(self) -> float:
        """Answers per second."""
        return len(self.latencies) / self.seconds


class LoadError(Exception):
    """A request was not answered as it must be; the message holds the answer's beginning."""


def job(port: int, picture: Picture, *, wait: int, operation: str = "embed") -> Target:
    """A job for Vultus; `wait` seconds for its end, 0 for an answer at once."""
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    return _post(port, "/v1/jobs", {"operation": operation.encode(), "image": picture.data}, headers)


def classic(port: int, picture: Picture) -> Target:
    """The same for the service to compare with."""
    return _post(port, "/embed", {"file": picture.data}, {})


def _post(port: int, path: str, fields: dict[str, bytes], headers: dict[str, str]) -> Target:
    body = b""
    for name, value in fields.items():
        kind = b"" if name == "operation" else b'; filename="picture.jpg"\r\nContent-Type: image/jpeg'
        body += b'--%s\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n' % (
            BOUNDARY.encode(), name.encode(), kind, value
        )  # fmt: skip
    body += b"--%s--\r\n" % BOUNDARY.encode()
    head = {
        "Host": f"127.0.0.1:{port}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(body)),
        **headers,
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    return Target(port, f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + body)


def closed_loop(target: Target, *, clients: int, warm: float, seconds: float) -> Load:
    """Each client sends its next request when the last is answered; answers count from `warm` seconds on."""
    return asyncio.run(_closed_loop([target], clients=clients, warm=warm, seconds=seconds))


def one_by_one(target: Target, *, times: int, pause: float = 0.0) -> list[tuple[float, dict[str, Any]]]:
    """Requests of one client: seconds and the answer of each."""
    return asyncio.run(_one_by_one(target, times=times, pause=pause))


def in_turn(targets: list[Target], *, times: int, clients: int) -> None:
    """Send `times` requests, the targets in turn, over this many connections."""
    asyncio.run(_in_turn(targets, times=times, clients=clients))


def probed(target: Target, probe: Target, *, clients: int, times: int, every: float) -> list[float]:
    """Seconds of `times` probes, one every so often, while `clients` keep the target saturated."""
    return asyncio.run(_probed(target, probe, clients=clients, times=times, every=every))


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, port: int) -> "_Connection":
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 20))

    async def send(self, request: bytes) -> bytes:
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        body = await self._reader.readexactly(length)
        if head[9:12] not in {b"200", b"202"}:
            raise LoadError((head + body)[:600].decode(errors="replace"))
        return body

    def close(self) -> None:
        self._writer.close()


async def _closed_loop(targets: list[Target], *, clients: int, warm: float, seconds: float) -> Load:
    load = Load(seconds)
    begin = time.perf_counter() + warm
    end = begin + seconds

    async def client(target: Target) -> None:
        connection = await _Connection.open(target.port)
        body = b""
        while (sent := time.perf_counter()) < end:
            body = await connection.send(target.request)
            load.answered += 1
            if begin <= (done := time.perf_counter()) < end:
                load.latencies.append(done - sent)
        load.bodies.append(body)
        connection.close()

    await asyncio.gather(*(client(targets[number % len(targets)]) for number in range(clients)))
    return load


async def _one_by_one(target: Target, *, times: int, pause: float) -> list[tuple[float, dict[str, Any]]]:
    connection = await _Connection.open(target.port)
    answers = []
    for _ in range(times):
        sent = time.perf_counter()
        body = await connection.send(target.request)
        answers.append((time.perf_counter() - sent, json.loads(body)))
        await asyncio.sleep(pause)
    connection.close()
    return answers


async def _in_turn(targets: list[Target], *, times: int, clients: int) -> None:
    turns = iter(range(times))

    async def client() -> None:
        connection = await _Connection.open(targets[0].port)
        for turn in turns:
            await connection.send(targets[turn % len(targets)].request)
        connection.close()

    await asyncio.gather(*(client() for _ in range(clients)))


async def _probed(target: Target, probe: Target, *, clients: int, times: int, every: float) -> list[float]:
    done = asyncio.Event()

    async def client() -> None:
        connection = await _Connection.open(target.port)
        while not done.is_set():
            await connection.send(target.request)
        connection.close()

    loaders = [asyncio.create_task(client()) for _ in range(clients)]
    await asyncio.sleep(1.0)
    connection = await _Connection.open(probe.port)
    latencies = []
    for _ in range(times):
        sent = time.perf_counter()
        await connection.send(probe.request)
        latencies.append(time.perf_counter() - sent)
        await asyncio.sleep(every)
    connection.close()
    done.set()
    await asyncio.gather(*loaders)
    return latencies

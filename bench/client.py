"""A lightweight load generator: raw keep-alive connections in one event loop."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from bench.pictures import Picture

BOUNDARY = "vultus-bench"
AT_ONCE = 64
"""Maximum number of connections of an open loop."""


@dataclass(frozen=True, slots=True)
class Target:
    """A port and the request to send to it."""

    port: int
    request: bytes


@dataclass(slots=True)
class Load:
    """The outcome of a load."""

    seconds: float
    latencies: list[float] = field(default_factory=list)
    """Seconds of each request whose response arrived within the window."""
    answered: int = 0
    """All completed requests, including those before and after the window."""
    bodies: list[bytes] = field(default_factory=list)
    """The last response body of each client."""

    @property
    def rate(self) -> float:
        """Responses per second."""
        return len(self.latencies) / self.seconds


class LoadError(Exception):
    """An unexpected response; the message contains its beginning."""


def job(
    port: int, picture: Picture, *, wait: int, operation: str = "embed", params: Mapping[str, str] | None = None
) -> Target:
    """Build a job request that waits up to `wait` seconds for completion; 0 = respond immediately."""
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    fields = {"operation": operation.encode()}
    if params:
        fields["params"] = json.dumps(params).encode()
    return _post(port, "/v1/jobs", {**fields, "image": picture.data}, headers)


def classic(port: int, picture: Picture) -> Target:
    """Build the equivalent request for a baseline service."""
    return _post(port, "/embed", {"file": picture.data}, {})


def _post(port: int, path: str, fields: dict[str, bytes], headers: dict[str, str]) -> Target:
    body = b""
    for name, value in fields.items():
        kind = b"" if name in {"operation", "params"} else b'; filename="picture.jpg"\r\nContent-Type: image/jpeg'
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
    """Let each client send its next request after the previous response; responses count after `warm` seconds."""
    return asyncio.run(_closed_loop([target], clients=clients, warm=warm, seconds=seconds))


def window(target: Target, *, clients: int, warm: float, seconds: float) -> Load:
    """Return a closed loop that is long enough for a response: on a busy machine it is repeated, twice as long."""
    while not (load := closed_loop(target, clients=clients, warm=warm, seconds=seconds)).latencies:
        seconds *= 2
    return load


def one_by_one(target: Target, *, times: int, pause: float = 0.0) -> list[tuple[float, dict[str, Any]]]:
    """Send requests from one client and return the seconds and response of each."""
    return asyncio.run(_one_by_one(target, times=times, pause=pause))


def open_loop(target: Target, *, times: Sequence[float]) -> list[bytes]:
    """Send a request at each of these times (seconds from now), independently of the others, and return the bodies."""
    return asyncio.run(_open_loop(target, times))


def in_turn(targets: list[Target], *, times: int, clients: int) -> None:
    """Send `times` requests to alternating targets over `clients` connections."""
    asyncio.run(_in_turn(targets, times=times, clients=clients))


def probed(target: Target, probe: Target, *, clients: int, times: int, every: float) -> list[float]:
    """Return the seconds of `times` probes, sent `every` seconds while `clients` keep the target saturated."""
    return asyncio.run(_probed(target, probe, clients=clients, times=times, every=every))


class _Connection:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @asynccontextmanager
    async def open(cls, port: int) -> AsyncIterator["_Connection"]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
        try:
            yield cls(reader, writer)
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

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


async def _closed_loop(targets: list[Target], *, clients: int, warm: float, seconds: float) -> Load:
    load = Load(seconds)
    begin = time.perf_counter() + warm
    end = begin + seconds

    async def client(target: Target) -> None:
        async with _Connection.open(target.port) as connection:
            body = b""
            while (sent := time.perf_counter()) < end:
                body = await connection.send(target.request)
                load.answered += 1
                if begin <= (done := time.perf_counter()) < end:
                    load.latencies.append(done - sent)
            load.bodies.append(body)

    await _together(client(targets[number % len(targets)]) for number in range(clients))
    return load


async def _one_by_one(target: Target, *, times: int, pause: float) -> list[tuple[float, dict[str, Any]]]:
    answers = []
    async with _Connection.open(target.port) as connection:
        for _ in range(times):
            sent = time.perf_counter()
            body = await connection.send(target.request)
            answers.append((time.perf_counter() - sent, json.loads(body)))
            await asyncio.sleep(pause)
    return answers


async def _open_loop(target: Target, times: Sequence[float]) -> list[bytes]:
    begin, room = time.perf_counter(), asyncio.Semaphore(AT_ONCE)

    async def one(at: float) -> bytes:
        await asyncio.sleep(max(0.0, begin + at - time.perf_counter()))
        async with room, _Connection.open(target.port) as connection:
            return await connection.send(target.request)

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one(at)) for at in times]
    return [task.result() for task in tasks]


async def _in_turn(targets: list[Target], *, times: int, clients: int) -> None:
    turns = iter(range(times))

    async def client() -> None:
        async with _Connection.open(targets[0].port) as connection:
            for turn in turns:
                await connection.send(targets[turn % len(targets)].request)

    await _together(client() for _ in range(clients))


async def _probed(target: Target, probe: Target, *, clients: int, times: int, every: float) -> list[float]:
    done = asyncio.Event()
    latencies = []

    async def client() -> None:
        async with _Connection.open(target.port) as connection:
            while not done.is_set():
                await connection.send(target.request)

    async def prober() -> None:
        await asyncio.sleep(1.0)  # until the queue is full
        async with _Connection.open(probe.port) as connection:
            for _ in range(times):
                sent = time.perf_counter()
                await connection.send(probe.request)
                latencies.append(time.perf_counter() - sent)
                await asyncio.sleep(every)
        done.set()

    await _together([prober(), *(client() for _ in range(clients))])
    return latencies


async def _together(clients: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run all clients; the first failure cancels the others and closes their connections."""
    try:
        async with asyncio.TaskGroup() as group:
            for client in clients:
                group.create_task(client)
    except* LoadError as errors:
        raise LoadError(str(errors.exceptions[0])) from None

"""A connection between the service and a store that can be slowed, stalled, cut, or made to swallow responses."""

import asyncio
import contextlib
import random
import threading
from typing import Final, Self

from tools.ports import LOOPBACK

PART: Final = 65_536
SWALLOWED: Final = 0.2
"""Share of the responses that are swallowed."""


class Line:
    """A port that forwards to another one. A context manager; what it does to its users can change at any time."""

    def __init__(self, target: int, *, seed: int) -> None:
        self.port = 0
        self.connections = 0
        self.swallowed = 0
        self._target = target
        self._random = random.Random(seed)  # noqa: S311 - a repeatable schedule, not a secret
        self._delay = 0.0
        self._swallows = False
        self._refuses = False
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.new_event_loop()
        self._flows: asyncio.Event | None = None
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="line", daemon=True)

    def __enter__(self) -> Self:
        """Start listening."""
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        """Close every connection, and the port."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def slow(self, seconds: float) -> None:
        """Delay everything by this much, in both directions."""
        self._delay = seconds

    def stall(self) -> None:
        """Forward nothing; connections stay open."""
        self._loop.call_soon_threadsafe(self._event.clear)

    def swallow(self) -> None:
        """Drop some responses: the store did its work, and the connection is gone."""
        self._swallows = True

    def cut(self) -> None:
        """Reset every connection; accept new ones and reset them too."""
        self._refuses = True
        self._loop.call_soon_threadsafe(self._reset)

    def clear(self) -> None:
        """Forward normally."""
        self._delay, self._swallows, self._refuses = 0.0, False, False
        self._loop.call_soon_threadsafe(self._event.set)

    @property
    def _event(self) -> asyncio.Event:
        if self._flows is None:
            raise RuntimeError
        return self._flows

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._flows = asyncio.Event()
        self._flows.set()
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, LOOPBACK, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        self._reset()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*asyncio.all_tasks(self._loop), return_exceptions=True))
        self._loop.close()

    def _reset(self) -> None:
        for writer in self._open:
            writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._refuses:
            writer.transport.abort()
            return
        self.connections += 1
        mine = {writer}
        try:
            there, onward = await asyncio.open_connection(LOOPBACK, self._target)
            mine.add(onward)
            self._open |= mine
            ways = [self._carry(reader, onward, answers=False), self._carry(there, writer, answers=True)]
            tasks = [asyncio.ensure_future(way) for way in ways]
            _, left = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in left:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        except (OSError, asyncio.CancelledError):  # the connection is closed: nobody waits for the outcome
            return
        finally:
            self._open -= mine
            for each in mine:
                with contextlib.suppress(OSError):
                    each.transport.abort() if self._refuses else each.close()

    async def _carry(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while part := await source.read(PART):
                if self._delay:
                    await asyncio.sleep(self._delay)
                await self._event.wait()
                if answers and self._swallows and self._random.random() < SWALLOWED:
                    self.swallowed += 1
                    to.transport.abort()
                    return
                to.write(part)
                await to.drain()

"""An event loop with a made clock: it jumps to the next timer when nothing else is left to do."""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class MadeClockLoop(asyncio.SelectorEventLoop):
    """A loop in which sleeps and timeouts take no real time and no machine is too slow for them.

    Only for code that runs in no other thread: the clock would jump while the other thread works.
    """

    def __init__(self) -> None:
        self._made_time = 1000.0
        super().__init__(_Jumping(self))

    def time(self) -> float:
        """Return the made time."""
        return self._made_time

    def jump(self, seconds: float) -> None:
        """Let this much time pass at once."""
        self._made_time += seconds


class _Jumping(selectors.SelectSelector):
    """Waits for nothing: where the loop would sleep until its next timer, the clock jumps there."""

    def __init__(self, loop: MadeClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:
            return super().select(None)
        events = super().select(0)
        if not events:
            self._loop.jump(timeout)
        return events


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run this in a loop with a made clock."""
    with asyncio.Runner(loop_factory=MadeClockLoop) as runner:
        return runner.run(work)

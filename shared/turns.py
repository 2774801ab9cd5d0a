"""Turns that a thread takes until it is stopped, whatever comes in between."""

import threading
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


def take_turns(turn: Callable[[], object], *, every: float, stop: threading.Event, failed: str) -> None:
    """Call `turn` each `every` seconds until `stop` is set.

    What it raises is logged as `failed`, and the next turn comes all the same; also where a picture has taken all
    memory for a moment and there is none to say so: a thread that ended of that would leave its process a shell.
    """
    while True:
        try:
            if stop.wait(every):
                return
            _take(turn, failed)
        except MemoryError:
            continue


def _take(turn: Callable[[], object], failed: str) -> None:
    try:
        turn()
    except Exception:
        log.exception(failed)

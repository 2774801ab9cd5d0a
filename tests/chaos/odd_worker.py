"""A real worker that hostile pictures kill or fill the memory of: what `celery -A` loads in a storm."""

import resource
from pathlib import Path
from typing import Final

from tests.chaos.marks import HOARDS
from tests.integration.poisoned_worker import DEEDS, app

ROOM: Final = 256 * 1024 * 1024
"""Bytes that a process may allocate beyond what it has when the picture arrives."""
PIECE: Final = 32 * 1024 * 1024


def hoard() -> None:
    """Allocate memory until there is none left, as a picture does that unpacks to more than the machine has."""
    had = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (had + ROOM, hard))
    taken = []
    try:
        while True:
            taken.append(bytearray(PIECE))
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


DEEDS[HOARDS] = hoard

__all__ = ["app"]

"""How long each part of a run measures."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Length:
    """Counts, and seconds."""

    rounds: int
    """Turns of each comparison."""
    loops: int
    """Single runs in process of each contender."""
    window: float
    """Seconds of a window in process."""
    load: float
    """Seconds of a window through HTTP."""
    warm: float
    """Seconds before such a window that do not count: longer than the slowest answer, or p99 is cut off."""
    clients: int
    """Clients that saturate a service."""
    probes: int
    """Single submissions that are timed."""
    jobs: int
    """Jobs of the memory run; it is looked at after a tenth of them too."""
    patience: float
    """Seconds that a client waits for its result after a worker was killed."""


FULL: Final = Length(
    rounds=3, loops=30, window=4.0, load=10.0, warm=9.0, clients=64, probes=200, jobs=2000, patience=60.0
)
QUICK: Final = Length(rounds=1, loops=1, window=0.3, load=2.5, warm=0.4, clients=3, probes=8, jobs=30, patience=3.0)

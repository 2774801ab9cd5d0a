"""Duration and sample counts of each part of a run."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Length:
    """Counts and durations in seconds."""

    rounds: int
    """Rounds of each comparison."""
    loops: int
    """Single in-process runs of each contender."""
    first: int
    """Runs of a piece of work before the first that is timed."""
    window: float
    """Seconds of an in-process window."""
    load: float
    """Seconds of an HTTP window."""
    warm: float
    """Warm-up seconds before an HTTP window: longer than the slowest response, because p99 would be cut off."""
    clients: int
    """Number of clients that saturate a service."""
    probes: int
    """Number of timed single submissions."""
    jobs: int
    """Jobs of the memory measurement, which also takes a sample after a tenth of them."""
    patience: float
    """Seconds that a client waits for its result after a worker is killed."""


FULL: Final = Length(
    rounds=3, loops=30, first=3, window=4.0, load=10.0, warm=9.0, clients=64, probes=200, jobs=2000, patience=60.0
)
QUICK: Final = Length(
    rounds=1, loops=1, first=0, window=0.2, load=0.4, warm=0.1, clients=3, probes=8, jobs=20, patience=3.0
)

"""One injected fault and what is known about it."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Blow:
    """One fault. Times are seconds since the epoch."""

    name: str
    began: float
    ended: float | None = None
    """When its cause was gone: the process killed, the frozen process thawed, the disk free again."""
    recovered: float | None = None
    died: float = 0.0
    """When a worker died."""
    held: dict[str, float] = field(default_factory=dict)
    """Jobs held by a killed worker, and when the lease of each expires."""


Course = Iterator[None]
"""The steps of a fault: the first runs at once, the others one at a time."""

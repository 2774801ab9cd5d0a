"""One fault that was done, and what is known of it."""

from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Blow:
    """One fault. Times are seconds since the epoch."""

    name: str
    began: float
    ended: float | None = None
    """When its cause was gone: the process killed, the frozen one thawed, the disk free again."""
    recovered: float | None = None
    died: float = 0.0
    """When a worker was dead."""
    held: dict[str, float] = field(default_factory=dict)
    """Jobs that a killed worker had, and when the lease of each ends."""


Course = Iterator[None]
"""What a fault does: up to the first step at once, the rest step by step."""

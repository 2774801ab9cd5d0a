"""What processes use, as the kernel says it: memory, threads, open files; and which processes there are at all."""

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """What one process uses at one moment."""

    megabytes: float
    """Resident memory."""
    threads: int
    files: int
    """Open file descriptors."""


def usage(pid: int) -> Usage | None:
    """What the process uses now; None where it has ended."""
    try:
        resident = int((PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
        files = len(list((PROC / str(pid) / "fd").iterdir()))
        threads = len(list((PROC / str(pid) / "task").iterdir()))
    except OSError:
        return None
    return Usage(resident * resource.getpagesize() / MIB, threads, files)


def census(processes: Mapping[str, int]) -> dict[str, Usage]:
    """The same of several, by their names; without those that have ended."""
    return {name: found for name, pid in processes.items() if (found := usage(pid)) is not None}


def carriers(mark: str) -> list[int]:
    """Processes that were given this text in their environment: whoever is left of a stack, by its password."""
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit() and _carries(path, mark.encode())]


def _carries(path: Path, mark: bytes) -> bool:
    try:
        return mark in (path / "environ").read_bytes()
    except OSError:
        return False

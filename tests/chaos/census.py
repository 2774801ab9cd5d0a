"""Reads the resource usage of processes from the kernel: memory, threads, open files; and which processes exist."""

import resource
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROC: Final = Path("/proc")
MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Usage:
    """Resource usage of one process at one moment."""

    megabytes: float
    """Resident memory."""
    threads: int
    files: int
    """Open file descriptors."""


def usage(pid: int) -> Usage | None:
    """Current usage of the process; None if it has exited."""
    try:
        resident = int((PROC / str(pid) / "statm").read_text(encoding="ascii").split()[1])
        files = len(list((PROC / str(pid) / "fd").iterdir()))
        threads = len(list((PROC / str(pid) / "task").iterdir()))
    except OSError:
        return None
    return Usage(resident * resource.getpagesize() / MIB, threads, files)


def census(processes: Mapping[str, int]) -> dict[str, Usage]:
    """Usage of several processes by name, without those that have exited."""
    return {name: found for name, pid in processes.items() if (found := usage(pid)) is not None}


def carriers(mark: str) -> list[int]:
    """Processes with this text in their environment: what is left of a stack, found by its password."""
    return [int(path.name) for path in PROC.iterdir() if path.name.isdigit() and _carries(path, mark.encode())]


def _carries(path: Path, mark: bytes) -> bool:
    try:
        return mark in (path / "environ").read_bytes()
    except OSError:
        return False

"""Limit this process's memory, so that an oversized picture fails alone instead of ending all jobs."""

import mmap
import resource
from typing import Final

MIB: Final = 1024 * 1024


def cap(megabytes: int) -> None:
    """Limit the private memory of this process (heap, stacks, anonymous mappings), in MiB; 0 = no limit.

    Allocations beyond the limit raise `MemoryError`. Otherwise the kernel or the container would kill the process with
    all its jobs. File mappings and reserved, unwritable mappings do not count (RLIMIT_DATA of setrlimit).
    """
    if megabytes:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (megabytes * MIB, hard))


def require(size: int) -> None:
    """Check that this many bytes can be allocated now, without touching them.

    Raises:
        MemoryError: they cannot be allocated.
    """
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        raise MemoryError from None

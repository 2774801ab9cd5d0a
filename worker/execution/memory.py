"""A cap on this process's memory, so that a picture that is too much fails by itself and takes no other job with it."""

import mmap
import resource
from typing import Final

MIB: Final = 1024 * 1024


def cap(megabytes: int) -> None:
    """Let this process have so much memory of its own (heap, stacks, anonymous maps) and no more; 0 = as it is.

    What asks for more gets a `MemoryError`, instead of the kernel's or the container's kill, which takes every job of
    the process. Maps of files do not count, nor does what is reserved and cannot be written (RLIMIT_DATA of setrlimit).
    """
    if megabytes:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (megabytes * MIB, hard))


def require(size: int) -> None:
    """Find out whether so many bytes could be had now; none of them is touched.

    Raises:
        MemoryError: they could not.
    """
    try:
        mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except OSError:
        raise MemoryError from None

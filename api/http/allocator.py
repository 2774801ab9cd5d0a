"""Return the memory of released request bodies to the operating system."""

import ctypes
import ctypes.util
from typing import Final

M_MMAP_THRESHOLD: Final = -3
LARGE: Final = 128 * 1024
"""Size from which a buffer gets its own pages, in bytes. This is also glibc's initial threshold."""


def return_large_buffers() -> bool:
    """Keep glibc from raising its mmap threshold. Return False if the C library has no such threshold.

    By default, the first freed upload raises the threshold to its own size. From then on, bodies are allocated on the
    heap between small objects that outlive them, and the process keeps their memory.
    """
    name = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(name), "mallopt", None) if name else None
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, LARGE))

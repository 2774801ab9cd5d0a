"""Returns the memory of large request bodies to the system once they are released."""

import ctypes
import ctypes.util
from typing import Final

M_MMAP_THRESHOLD: Final = -3
LARGE: Final = 128 * 1024
"""Bytes from which a buffer gets pages of its own, as the C library does at start."""


def return_large_buffers() -> bool:
    """Keep glibc from raising its threshold for separate pages; whether there is such a threshold.

    By default the first freed upload raises it to the upload's size. From then on bodies lie in the heap, between small
    objects that outlive them, and their memory is kept by the process.
    """
    name = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(name), "mallopt", None) if name else None
    return mallopt is not None and bool(mallopt(M_MMAP_THRESHOLD, LARGE))

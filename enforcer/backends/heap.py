"""How the C library's heap is kept: what was given back goes back to the kernel.

By default glibc keeps blocks up to 32 MiB for later once one as large was freed, and up to eight
heaps for each processor, one for each thread that had to wait: an agent that has fetched a list in
parts would keep some of them for good. mallopt(3); other libraries do as they do.
"""

from __future__ import annotations

import ctypes
from typing import Final

M_TRIM_THRESHOLD: Final = -1
M_MMAP_THRESHOLD: Final = -3
M_ARENA_MAX: Final = -8

ARENAS_MAX: Final = 2
MAPPED_BYTES_MIN: Final = 1 << 16
"""A block of so much is a mapping of its own, which ends with it."""
TRIMMED_BYTES_MIN: Final = 1 << 17


def keep_heap_small() -> None:
    """Have freed memory given back, where the library can; call it before there are threads."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, ARENAS_MAX)
        mallopt(M_MMAP_THRESHOLD, MAPPED_BYTES_MIN)
        mallopt(M_TRIM_THRESHOLD, TRIMMED_BYTES_MIN)

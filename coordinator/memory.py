"""Keeping the server small: glibc must give the memory of chunks back.

By default glibc keeps an arena for each thread and, having once freed a large block, moves the size
from which blocks are mapped up to 32 MiB, so that the heap fragments. Two arenas and a fixed size
keep it small: 100 MiB at the peak of a 2 GiB module, 101 with ten sites at once. Mapping every
chunk (256 KiB) saves up to 20 MiB more and costs a sixth of a download's speed: each page is made
anew.
"""

import contextlib
import ctypes
import sys

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h
_LARGE_BYTES = 8 * 1024 * 1024
_ARENAS = 2


def return_memory_of_chunks() -> None:
    """Set glibc's allocator; elsewhere do nothing. Call before threads are started."""
    if not sys.platform.startswith("linux"):
        return
    with contextlib.suppress(OSError, AttributeError):  # musl has no mallopt
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_ARENA_MAX, _ARENAS)

"""Settings of the machine that decide how fast a network runs."""

from __future__ import annotations

import ctypes
from functools import cache

# From glibc's malloc.h.
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
KEEP = 1 << 30


@cache
def keep_freed_memory() -> bool:
    """Let glibc keep up to 1 GiB of freed memory instead of returning it at once.

    By default every tensor over 32 MiB is mapped afresh, and its pages are zeroed one fault
    at a time: batches of 64 images at 224×224 then take four times as long as they need to.
    For this process, from the first measurement on; False where the C library is another.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, KEEP)) and bool(mallopt(M_TRIM_THRESHOLD, KEEP))

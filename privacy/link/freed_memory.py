"""Memory that a round gave back, kept for the next one: models, sums and vectors come again in the same lengths.

The C library hands the end of its heap back to the system whenever some MB are free there, and the system clears every page that it hands out again: a
round of 10^6 coordinates took ten thousand new pages, as much CPU time as its hashes.
"""

from __future__ import annotations

import ctypes

# What an idle process may hold free at the end of its heap.
KEPT_BYTES = 64 << 20
# From here on memory comes from the system and goes back to it; glibc takes no larger value.
LARGE_BYTES = 32 << 20
# Their names in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> bool:
    """For this process, from now on; False where the C library cannot be told, which costs time and nothing else."""
    tell = getattr(ctypes.CDLL(None), "mallopt", None)
    if tell is None:
        return False
    return bool(tell(_M_TRIM_THRESHOLD, KEPT_BYTES)) and bool(tell(_M_MMAP_THRESHOLD, LARGE_BYTES))

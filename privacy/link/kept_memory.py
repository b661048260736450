"""What a long-running process does with memory that it freed: it keeps it for its next round.

The C library gives long pieces back to the system, which clears them before it hands them out again; on a virtual machine that gives free
memory back, that takes 7 ms of CPU time for a vector of 8 MB, several times what is done with it.
"""

from __future__ import annotations

import ctypes
from contextlib import suppress

# glibc's mallopt(3): freed memory at the end of the heap up to this goes into the next round; pieces longer than this are the system's
# own, at most 32 MiB.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
MOST_KEPT_BYTES = 256 << 20
LONGEST_KEPT_BYTES = 32 << 20


def keep_freed_memory() -> None:
    """For the rest of the process; with another C library than glibc, nothing."""
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, LONGEST_KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, MOST_KEPT_BYTES)

"""What a long-running process does with memory that it freed: it keeps it for its next round.

The C library gives long pieces back to the system, which clears them before it hands them out again; on a virtual machine that gives free
memory back, that takes 7 ms of CPU time for a vector of 8 MB, several times what is done with it.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from contextlib import suppress

# glibc's mallopt(3): freed memory at the end of the heap up to this goes into the next round; pieces longer than this are the system's
# own, at most 32 MiB.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
MOST_KEPT_BYTES = 256 << 20
LONGEST_KEPT_BYTES = 32 << 20
# glibc reads them, and GLIBC_TUNABLES, when a process starts; mallopt(3) would outdo them.
_OPERATORS = frozenset({"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "MALLOC_TOP_PAD_"})


def keep_freed_memory(environment: Mapping[str, str]) -> None:
    """For the rest of the process; nothing with another C library than glibc, or where an operator says in the environment what malloc is to keep."""
    if _OPERATORS & environment.keys() or "glibc.malloc." in environment.get("GLIBC_TUNABLES", ""):
        return
    with suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, LONGEST_KEPT_BYTES)
        mallopt(_TRIM_THRESHOLD, MOST_KEPT_BYTES)

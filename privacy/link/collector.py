"""What Python's garbage collector need not look at: a long-running process goes through its libraries' objects again and again otherwise."""

from __future__ import annotations

import gc

# Of a round of messages few objects are in cycles; Python's own 700 makes some twenty passes a round.
ALLOCATIONS = 20_000


def set_startup_aside() -> None:
    """Whatever was loaded up to here is looked through once more and never again; new objects at every `ALLOCATIONS` of them."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(ALLOCATIONS, *gc.get_threshold()[1:])

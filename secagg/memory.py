"""Memory for vectors: aligned, in huge pages, and used again once nobody holds it any more.

New memory is not free: the system clears every page that it hands out, and for a vector of 40 MB that takes as long as the
expansion of one to two masks.
"""

from __future__ import annotations

import weakref
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt

# Sums whose operands straddle cache lines take half as long again.
_CACHE_LINE = 64
# NumPy asks for huge pages from here on: a vector of 4 MB in small pages costs a thousand page faults, as much as a mask.
_HUGE_BYTES = 4 << 20
_WORTH_HUGE_BYTES = 1 << 20
# What an idle process may hold for its next round; larger memory goes back to the system.
_MOST_KEPT_BYTES = 128 << 20


class _Loan:
    """What every array and view in one lent memory keeps alive, and nothing else does."""

    __slots__ = ("__weakref__", "_memory")

    def __init__(self, memory: npt.NDArray[np.uint8]) -> None:
        self._memory = memory

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._memory.__array_interface__


# The memory lent last; one is enough, since a party masks or unmasks one vector a round. Operations of a deque are atomic.
_LENT: deque[tuple[npt.NDArray[np.uint8], weakref.ref[_Loan]]] = deque(maxlen=1)


def fresh_vector(size: int, ring: np.dtype[np.unsignedinteger[Any]]) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Memory for a vector, (size,), not initialized, at the start of a cache line."""
    return _fresh_bytes(size * ring.itemsize).view(ring)


def lent_vector(size: int, ring: np.dtype[np.unsignedinteger[Any]]) -> npt.NDArray[np.unsignedinteger[Any]]:
    """As `fresh_vector`, but in the memory of the vector lent before, once no array or view of that is alive.

    For what is on the wire or published anyway: its bytes stay in memory until the next vector is written over them.
    """
    length = size * ring.itemsize
    memory = _returned(length)
    if memory is None:
        memory = _fresh_bytes(length)
    loan = _Loan(memory)
    if length <= _MOST_KEPT_BYTES:
        _LENT.append((memory, weakref.ref(loan)))
    return np.asarray(loan).view(ring)


def _returned(length: int) -> npt.NDArray[np.uint8] | None:
    """The memory lent last, if it has this length and nobody holds it."""
    try:
        memory, loan = _LENT.pop()
    except IndexError:
        return None
    return memory if memory.nbytes == length and loan() is None else None


def _fresh_bytes(length: int) -> npt.NDArray[np.uint8]:
    wanted = length + _CACHE_LINE
    raw = np.empty(max(wanted, _HUGE_BYTES) if wanted >= _WORTH_HUGE_BYTES else wanted, dtype=np.uint8)
    first = -raw.ctypes.data % _CACHE_LINE
    return raw[first : first + length]

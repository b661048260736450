"""Memory that is lent again is never memory that somebody still reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from secagg import memory
from secagg.memory import fresh_vector, lent_vector

U4, U8 = np.dtype("<u4"), np.dtype("<u8")


def address(vector: Any) -> int:
    return int(np.asarray(vector).ctypes.data)


@pytest.mark.parametrize(
    "hold",
    [
        lambda vector: vector,
        lambda vector: vector[1:3].view("<u2")[::2],
        lambda vector: vector.data.cast("B").toreadonly()[8:12],
        lambda vector: np.frombuffer(vector.data.cast("B")[4:], dtype="<i4"),
    ],
    ids=["itself", "view", "memoryview", "array over a memoryview"],
)
def test_memory_is_lent_again_only_when_nothing_refers_to_it(hold: Callable[[Any], Any]) -> None:
    first = lent_vector(1000, U4)
    first[:] = 7
    place = address(first)
    held = hold(first)
    written = np.array(held)
    del first
    second = lent_vector(1000, U4)
    second[:] = 9
    assert address(second) != place
    assert (np.asarray(held) == written).all()
    del held
    place = address(second)
    del second
    assert address(lent_vector(1000, U4)) == place


def test_lent_memory_has_the_length_that_is_due() -> None:
    for size, ring in ((10, U4), (11, U4), (11, U8), (3_000_000, U4), (3, U4)):
        for made in (lent_vector(size, ring), fresh_vector(size, ring)):
            made[:] = 1
            assert (made.shape, made.dtype, made.flags.writeable) == ((size,), ring, True)
            assert address(made) % 64 == 0


def test_an_idle_process_keeps_no_large_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MOST_KEPT_BYTES", 4000)
    memory._LENT.clear()
    lent_vector(1001, U4)
    assert not memory._LENT
    lent_vector(1000, U4)
    assert len(memory._LENT) == 1

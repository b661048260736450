"""Vectors in memory and on disk: in order, whole, and never longer than agreed."""

from __future__ import annotations

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coordinator.spool import LONG_BYTES, Spool, SpoolError

VECTOR = bytes(range(200)) * 2


@pytest.fixture(params=["memory", "disk"])
def spool(tmp_path: Path, request: pytest.FixtureRequest) -> Spool:
    return Spool(tmp_path / "spool", len(VECTOR), 1000 if request.param == "memory" else 0)


def read(spool: Spool, hospital: str, offset: int, length: int) -> bytes:
    memory = bytearray(length)
    return bytes(memory[: spool.read_into(hospital, offset, memoryview(memory))])


def test_chunks_in_order_make_the_vector(spool: Spool) -> None:
    for offset in range(0, 400, 100):
        assert not spool.complete("a")
        spool.add("a", offset, VECTOR[offset : offset + 100])
    assert spool.complete("a")
    assert spool.sha256("a") == hashlib.sha256(VECTOR).digest()
    assert read(spool, "a", 0, 400) == VECTOR
    assert b"".join(read(spool, "a", offset, 150) for offset in (0, 150, 300)) == VECTOR


@pytest.mark.parametrize("offset", [1, 99, 101, 300, 400])
def test_a_chunk_that_does_not_continue_the_vector_is_refused(spool: Spool, offset: int) -> None:
    spool.add("a", 0, VECTOR[:100])
    with pytest.raises(SpoolError) as caught:
        spool.add("a", offset, b"x")
    assert (caught.value.hospital, caught.value.offset, caught.value.expected) == ("a", offset, 100)
    spool.add("a", 100, VECTOR[100:])
    assert read(spool, "a", 0, 500) == VECTOR


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_a_vector_never_grows_beyond_its_length(spool: Spool) -> None:
    with pytest.raises(SpoolError):
        spool.add("a", 0, bytes(401))
    spool.add("b", 0, VECTOR)
    with pytest.raises(SpoolError):
        spool.add("b", 400, b"x")
    assert read(spool, "b", 0, 500) == VECTOR


def test_a_restarted_hospital_sends_its_vector_anew(spool: Spool) -> None:
    spool.add("a", 0, bytes(100))
    spool.add("a", 100, bytes(100))
    spool.add("a", 0, VECTOR[:100])
    spool.add("a", 100, VECTOR[100:])
    assert spool.complete("a")
    assert spool.sha256("a") == hashlib.sha256(VECTOR).digest()
    assert read(spool, "a", 0, 500) == VECTOR


def test_hospitals_are_apart_and_clearing_leaves_nothing(spool: Spool, tmp_path: Path) -> None:
    spool.add("a", 0, VECTOR)
    spool.add("b", 0, bytes(400))
    assert read(spool, "a", 0, 500) == VECTOR
    spool.clear()
    assert not (tmp_path / "spool").exists()


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_memory_holds_no_more_than_its_bound_and_the_rest_is_on_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", len(VECTOR), 2 * len(VECTOR) + 399)
    for hospital in "abcd":
        spool.add(hospital, 0, VECTOR[:100])
        spool.add(hospital, 0, VECTOR[:100])  # Sent anew, it takes no second place.
        spool.add(hospital, 100, VECTOR[100:])
    assert sorted(path.stem for path in (tmp_path / "spool").iterdir()) == ["c", "d"]
    assert all(read(spool, hospital, 100, 500) == VECTOR[100:] for hospital in "abcd")


@pytest.mark.threat("FL-19", control="C-LIMITS")
@pytest.mark.parametrize("chunk", [1, 300])
def test_a_vector_in_many_small_chunks_takes_no_more_than_its_bytes(tmp_path: Path, chunk: int) -> None:
    length = 10 * LONG_BYTES if chunk > 1 else LONG_BYTES // 2
    spool = Spool(tmp_path / "spool", length)
    tracemalloc.start()
    try:
        for offset in range(0, length, chunk):
            spool.add("a", offset, bytes(min(chunk, length - offset)))
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert spool.complete("a")
    assert max(held, peak) < length + 20_000


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_a_chunk_that_is_a_small_part_of_its_message_does_not_hold_it(tmp_path: Path) -> None:
    length = 4 * LONG_BYTES
    spool = Spool(tmp_path / "spool", length)
    tracemalloc.start()
    try:
        for offset in range(0, length, LONG_BYTES):
            spool.add("a", offset, memoryview(bytes(20 * LONG_BYTES))[:LONG_BYTES])
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < length + 20_000


def test_long_chunks_stay_where_they_came_and_nothing_changes_them(tmp_path: Path) -> None:
    vector = np.random.default_rng(1).bytes(3 * LONG_BYTES + 5)
    spool = Spool(tmp_path / "spool", len(vector))
    mutable = bytearray(vector[LONG_BYTES : 2 * LONG_BYTES])
    tracemalloc.start()
    try:
        spool.add("a", 0, memoryview(vector)[: 2 * LONG_BYTES])
        held, _ = tracemalloc.get_traced_memory()
        assert held < 5000, "nothing was copied"
        spool.add("b", 0, vector[:LONG_BYTES])
        spool.add("b", LONG_BYTES, memoryview(mutable))
    finally:
        tracemalloc.stop()
    mutable[:] = bytes(LONG_BYTES)
    assert read(spool, "b", 0, 2 * LONG_BYTES) == vector[: 2 * LONG_BYTES]


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_a_vector_begun_again_in_small_chunks_takes_no_new_memory(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", 4 * LONG_BYTES)
    spool.add("a", 0, bytes(100))
    tracemalloc.start()
    try:
        spool.add("a", 0, b"anew")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 5000
    assert read(spool, "a", 0, 100) == b"anew"


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_what_is_read_is_what_was_sent_last_whatever_the_chunks(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    length = data.draw(st.sampled_from([1, LONG_BYTES, 3 * LONG_BYTES + 17]))
    spool = Spool(tmp_path_factory.mktemp("spools") / "spool", length)
    sizes = st.sampled_from([1, 1000, LONG_BYTES - 1, LONG_BYTES, 2 * LONG_BYTES + 3])
    for attempt in data.draw(st.lists(st.lists(sizes, min_size=1, max_size=6), min_size=1, max_size=3)):
        vector, end = np.random.default_rng(attempt).bytes(length), 0
        for size in attempt:
            if end < length:
                spool.add("a", end, memoryview(vector)[end : end + size])
                end = min(length, end + size)
        first = data.draw(st.integers(0, length))
        size = data.draw(st.integers(1, length))
        assert read(spool, "a", first, size) == vector[:end][first : first + size]
        assert spool.sha256("a") == hashlib.sha256(vector[:end]).digest()
        assert spool.complete("a") == (end == length)


def test_a_new_round_starts_empty(spool: Spool, tmp_path: Path) -> None:
    spool.add("a", 0, VECTOR)
    again = Spool(tmp_path / "spool", len(VECTOR), 0)
    assert not again.complete("a")
    assert not (tmp_path / "spool").exists()

"""Vectors in memory and on disk: in order, whole, and never longer than agreed."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from coordinator.spool import Spool, SpoolError

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
    held = [spool.in_memory(hospital) for hospital in "abcd"]
    assert [part is not None and part.readonly and bytes(part) == VECTOR for part in held] == [
        True,
        True,
        False,
        False,
    ]


def test_a_new_round_starts_empty(spool: Spool, tmp_path: Path) -> None:
    spool.add("a", 0, VECTOR)
    again = Spool(tmp_path / "spool", len(VECTOR), 0)
    assert not again.complete("a")
    assert list((tmp_path / "spool").iterdir()) == []

"""What the coordinator keeps: append-only, and there after a restart."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from coordinator.disk_faults import DiskFault
from coordinator.receipt_files import ReceiptLost
from coordinator.state import CoordinatorState, StoredRound
from secagg.wire import codec
from secagg.wire.records import Receipt, ReceiptBody, Signed

STUDY = bytes(32)
RECEIPT = codec.pack("receipt", Receipt(Signed(b"body", bytes(64)), b"the sum of 64-bit rings"))
ROUND = StoredRound(1, b"{}", RECEIPT, b"total")
SAME = StoredRound(3, b"{3}", RECEIPT, b"the sum of 64-bit rings")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "coordinator.db"


def opened(path: Path) -> CoordinatorState:
    state = CoordinatorState(path)
    state.open_study(STUDY, "small", b"agreement", "2031-01-01T00:00:00Z")
    return state


def test_rounds_are_there_after_a_restart_in_order(path: Path) -> None:
    state = opened(path)
    state.add_round(STUDY, StoredRound(2, b"{2}", None, None))
    state.add_round(STUDY, ROUND)
    state.add_round(STUDY, SAME)
    state.close()
    again = opened(path)
    assert list(again.rounds(STUDY)) == [ROUND, StoredRound(2, b"{2}", None, None), SAME]
    # The sum of a long vector lies in the file once.
    assert path.read_bytes().count(b"the sum of 64-bit rings") == 2
    assert list(again.rounds(b"\x01" * 32)) == []
    again.close()


@pytest.mark.threat("FL-35", control="C-LOG")
@pytest.mark.parametrize(
    "statement",
    ["UPDATE rounds SET record = x'00'", "DELETE FROM rounds", "DELETE FROM rounds WHERE round = 1"],
)
def test_a_round_is_never_changed_or_deleted(path: Path, statement: str) -> None:
    state = opened(path)
    state.add_round(STUDY, ROUND)
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        state._db.execute(statement)
    assert list(state.rounds(STUDY)) == [ROUND]
    # It is the triggers that refuse.
    for trigger in ("rounds_stay", "rounds_remain"):
        state._db.execute(f"DROP TRIGGER {trigger}")
    state._db.execute(statement)
    assert list(state.rounds(STUDY)) != [ROUND]
    state.close()


def test_a_round_number_is_used_once(path: Path) -> None:
    state = opened(path)
    state.add_round(STUDY, ROUND)
    with pytest.raises(sqlite3.IntegrityError):
        state.add_round(STUDY, StoredRound(1, b"another", None, None))
    assert list(state.rounds(STUDY)) == [ROUND]
    state.close()


def long_round(round_number: int = 1) -> StoredRound:
    total = bytes(range(250)) * 8
    body = ReceiptBody(
        round_number, bytes(32), bytes(32), b"set", (), (), hashlib.sha256(total).digest(), 0, b"", bytes(16)
    )
    receipt = codec.pack("receipt", Receipt(Signed(codec.encode(body), bytes(64)), total))
    return StoredRound(round_number, b"{}", receipt, total)


def long_receipts(path: Path) -> CoordinatorState:
    state = CoordinatorState(path, 1000)
    state.open_study(STUDY, "small", b"agreement", "2031-01-01T00:00:00Z")
    return state


def test_long_receipts_lie_in_files_and_come_back_whole(path: Path) -> None:
    state = long_receipts(path)
    state.add_round(STUDY, long_round())
    state.add_round(STUDY, StoredRound(2, b"{2}", None, None))
    other = StoredRound(3, b"{3}", long_round(3).receipt, bytes(2000))
    state.add_round(STUDY, other)
    state.close()
    assert bytes(range(250)) not in path.read_bytes()
    again = long_receipts(path)
    assert list(again.rounds(STUDY)) == [long_round(), StoredRound(2, b"{2}", None, None), other]
    again.close()


@pytest.mark.threat("FL-35", control="C-LOG")
@pytest.mark.parametrize("damage", ["gone", "cut", "changed", "another"])
def test_a_receipt_file_that_is_not_the_signed_one_is_named(path: Path, damage: str) -> None:
    state = long_receipts(path)
    state.add_round(STUDY, long_round())
    (file,) = path.with_suffix(".receipts").iterdir()
    data = file.read_bytes()
    match damage:
        case "gone":
            file.unlink()
        case "cut":
            file.write_bytes(data[:-1])
        case "changed":
            file.write_bytes(data[:-1] + b"x")
        case "another":
            file.write_bytes(long_round(2).receipt or b"")
    with pytest.raises(ReceiptLost, match="restore the state from its backup"):
        list(state.rounds(STUDY))
    state.close()


def test_a_second_round_of_a_number_leaves_the_first_ones_file(path: Path) -> None:
    state = long_receipts(path)
    state.add_round(STUDY, long_round())
    with pytest.raises(sqlite3.IntegrityError):
        state.add_round(STUDY, StoredRound(1, b"{}", (long_round(1).receipt or b"")[:-1] + b"x", None))
    assert list(state.rounds(STUDY)) == [long_round()]
    state.close()


def test_file_and_folder_are_on_the_disk_before_the_row(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = long_receipts(path)
    reader = sqlite3.connect(path)
    synced: list[tuple[bool, int]] = []
    real = os.fsync

    def noting(handle: int) -> None:
        (rows,) = reader.execute("SELECT count(*) FROM rounds").fetchone()
        synced.append((stat.S_ISDIR(os.fstat(handle).st_mode), rows))
        real(handle)

    monkeypatch.setattr("coordinator.receipt_files.os.fsync", noting)
    state.add_round(STUDY, long_round())
    assert synced == [(False, 0), (True, 0)]
    reader.close()
    state.close()


def test_a_receipt_that_cannot_be_written_is_no_round(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = long_receipts(path)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("coordinator.receipt_files.os.fsync", full)
    with pytest.raises(DiskFault, match="No space"):
        state.add_round(STUDY, long_round())
    assert list(state.rounds(STUDY)) == []
    assert list(path.with_suffix(".receipts").iterdir()) == []
    monkeypatch.undo()
    state.add_round(STUDY, long_round())
    assert list(state.rounds(STUDY)) == [long_round()]
    state.close()


def test_a_round_belongs_to_a_known_study(path: Path) -> None:
    state = opened(path)
    with pytest.raises(sqlite3.IntegrityError):
        state.add_round(b"\x02" * 32, ROUND)
    state.close()


def test_studies_are_listed_with_how_they_ended(path: Path) -> None:
    state = opened(path)
    state.open_study(b"\x01" * 32, "second", b"", "2031-01-02T00:00:00Z")
    state.close_study(STUDY, "failed", "too few")
    assert state.studies() == [
        ("small", "2031-01-01T00:00:00Z", "failed", "too few"),
        ("second", "2031-01-02T00:00:00Z", "open", ""),
    ]
    state.close()


def test_it_waits_for_the_disk(path: Path) -> None:
    state = opened(path)
    assert state._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert state._db.execute("PRAGMA synchronous").fetchone() == (2,)
    state.close()

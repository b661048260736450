"""The journal: one transaction holds a state and its replies."""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import Any, NoReturn

import pytest

from hospital_node.journal import Journal
from hospital_node.upload_files import UploadFiles, UploadLost, UploadsUnsafe

STUDY, OTHER = bytes(32), b"\x01" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session" / "journal.db"


def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    journal = Journal(path)
    journal.commit(STUDY, 1, b"state", b"request", [b"one", b"two"])
    journal.close()
    again = Journal(path)
    assert again.state(STUDY) == b"state"
    assert again.replies(STUDY, b"request") == (b"one", b"two")
    assert again.replies(STUDY, b"another") is None
    again.close()


def test_studies_are_apart(path: Path) -> None:
    journal = Journal(path)
    journal.commit(STUDY, 5, b"state", b"request", [b"one"])
    journal.commit(OTHER, 1, b"other", b"request", [b"two"])
    assert (journal.state(STUDY), journal.state(OTHER)) == (b"state", b"other")
    assert journal.replies(STUDY, b"request") == (b"one",)
    journal.close()


def test_a_new_round_forgets_the_replies_of_the_old_one(path: Path) -> None:
    journal = Journal(path)
    journal.commit(STUDY, 1, b"uploaded", b"order 1", [b"vector 1"])
    journal.commit(STUDY, 1, b"agreed", b"agree 1", [b"signature 1"])
    assert journal.replies(STUDY, b"order 1") == (b"vector 1",)
    journal.commit(STUDY, 2, b"uploaded", b"order 2", [b"vector 2"])
    assert journal.replies(STUDY, b"order 1") is None
    assert journal.replies(STUDY, b"agree 1") is None
    journal.close()
    assert b"vector 1" not in path.read_bytes()


def test_a_request_is_answered_once(path: Path) -> None:
    """A second answer to the same bytes takes the state back with it."""
    journal = Journal(path)
    journal.commit(STUDY, 1, b"first", b"request", [b"one"])
    with pytest.raises(Exception, match="UNIQUE"):
        journal.commit(STUDY, 1, b"second", b"request", [b"two"])
    assert journal.state(STUDY) == b"first"
    assert journal.replies(STUDY, b"request") == (b"one",)
    journal.commit(STUDY, 1, b"third", b"other request", [b"three"])
    assert journal.state(STUDY) == b"third"
    journal.close()


class FullDisk:
    """A connection whose commits fail."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")
        return self._database.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


def test_what_could_not_be_committed_is_not_answered(path: Path) -> None:
    journal = Journal(path)
    database = journal._db
    journal._db = FullDisk(database)  # type: ignore[assignment]  # a connection but for its last write
    with pytest.raises(sqlite3.OperationalError, match="full"):
        journal.commit(STUDY, 1, b"state", b"request", [b"one"])
    assert journal.replies(STUDY, b"request") is None
    assert journal.state(STUDY) is None
    journal._db = database
    journal.commit(STUDY, 1, b"state", b"request", [b"one"])
    assert journal.replies(STUDY, b"request") == (b"one",)
    journal.close()


@pytest.mark.threat("FL-24", control="C-LEAST")
def test_only_the_owner_may_read_it(path: Path) -> None:
    journal = Journal(path)
    journal.commit(STUDY, 1, b"state", b"request", [b"one"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    journal.close()


def test_it_waits_for_the_disk(path: Path) -> None:
    journal = Journal(path)
    database = journal._db
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.execute("PRAGMA secure_delete").fetchone() == (1,)
    journal.close()


LONG = b"vector of one round " * 100


def with_files(path: Path) -> Journal:
    return Journal(path, file_bytes=len(LONG))


def uploads(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.with_suffix(".uploads").iterdir()}


def test_a_long_reply_is_a_file_that_only_the_owner_reads(path: Path) -> None:
    journal = with_files(path)
    journal.commit(STUDY, 1, b"uploaded", b"order", [b"header", LONG, b"seals", LONG[1:] + b"!"])
    journal.close()
    assert LONG not in path.read_bytes()
    folder = path.with_suffix(".uploads")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()} == {0o600}
    again = with_files(path)
    assert again.replies(STUDY, b"order") == (b"header", LONG, b"seals", LONG[1:] + b"!")
    again.close()


def test_a_vector_goes_with_its_round(path: Path) -> None:
    journal = with_files(path)
    journal.commit(OTHER, 1, b"uploaded", b"order", [LONG])
    journal.commit(STUDY, 1, b"uploaded", b"order", [b"header", LONG])
    journal.commit(STUDY, 1, b"agreed", b"agree", [b"signature"])
    assert len(uploads(path)) == 2
    journal.commit(STUDY, 1, b"ready", b"receipt", [], ends_round=True)
    assert journal.replies(STUDY, b"order") is None
    assert journal.replies(STUDY, b"agree") == (b"signature",)
    assert journal.replies(OTHER, b"order") == (LONG,)
    journal.commit(STUDY, 2, b"uploaded", b"order 2", [LONG])
    journal.commit(STUDY, 3, b"uploaded", b"order 3", [LONG])
    # The second round's waits to be written over.
    assert sorted(name.split("-")[1] for name in uploads(path)) == ["1", "2", "3"]
    assert journal.replies(STUDY, b"order 2") is None
    journal.drop_uploads(STUDY)
    assert (journal.replies(STUDY, b"order 3"), len(uploads(path))) == (None, 1)
    journal.close()


@pytest.mark.parametrize("shorter", [False, True])
def test_the_next_vector_is_written_over_one_whose_round_is_over(path: Path, shorter: bool) -> None:
    journal = with_files(path)
    first, second = LONG + LONG, LONG if shorter else LONG + LONG[::-1]
    journal.commit(STUDY, 1, b"uploaded", b"order", [LONG, first])
    before = {file.stat().st_ino for file in path.with_suffix(".uploads").iterdir()}
    journal.commit(STUDY, 1, b"ready", b"receipt", [], ends_round=True)
    journal.commit(STUDY, 2, b"uploaded", b"order 2", [second])
    assert journal.replies(STUDY, b"order 2") == (second,)
    assert {file.stat().st_ino for file in path.with_suffix(".uploads").iterdir()} == before
    # One that was not needed is deleted with the next round, and the last one when the journal is closed.
    journal.commit(STUDY, 2, b"ready", b"receipt 2", [], ends_round=True)
    assert list(uploads(path).values()) == [second]
    journal.commit(STUDY, 3, b"uploaded", b"order 3", [LONG])
    journal.commit(STUDY, 3, b"ready", b"receipt 3", [], ends_round=True)
    journal.close()
    assert uploads(path) == {}


def test_a_loss_of_power_that_takes_a_receipt_back_leaves_no_answer(path: Path) -> None:
    """The receipt waited for no disk, and the vector that it gave up is written over already: nothing else is sent in its place."""
    journal = with_files(path)
    journal.commit(STUDY, 1, b"uploaded", b"order", [LONG])
    with (
        closing(sqlite3.connect(path)) as source,
        closing(sqlite3.connect(path.with_name("on disk"))) as disk,
    ):
        source.backup(disk)
    journal.commit(STUDY, 1, b"ready", b"receipt", [], ends_round=True)
    monkeypatched = pytest.MonkeyPatch()
    monkeypatched.setattr(journal._anchor, "keep", _dies)
    with pytest.raises(Died):
        journal.commit(STUDY, 2, b"uploaded", b"order 2", [LONG[::-1]])
    monkeypatched.undo()
    journal._db.close()
    journal._anchor.close()
    journal._lock.release()
    for name in ("journal.db-wal", "journal.db-shm"):
        path.with_name(name).unlink(missing_ok=True)
    path.with_name("on disk").replace(path)
    again = with_files(path)
    assert (again.restored, again.state(STUDY)) == (False, b"uploaded")
    with pytest.raises(UploadLost):
        again.replies(STUDY, b"order")
    assert (again.replies(STUDY, b"order 2"), uploads(path)) == (None, {})
    again.close()


def test_a_disk_that_is_full_at_the_end_of_a_study_stops_no_other(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = with_files(path)
    journal.commit(STUDY, 1, b"uploaded", b"order", [LONG])
    with monkeypatch.context() as full:
        full.setattr(journal, "_forget_answers", _full)
        with pytest.raises(sqlite3.OperationalError, match="full"):
            journal.drop_uploads(STUDY)
    assert journal.replies(STUDY, b"order") == (LONG,)
    journal.commit(OTHER, 1, b"state", b"request", [])
    journal.commit(OTHER, 1, b"state", b"another", [b"answer"])
    assert journal.replies(OTHER, b"another") == (b"answer",)
    journal.close()


def test_a_spare_file_that_somebody_deleted_is_not_missed(path: Path) -> None:
    journal = with_files(path)
    journal.commit(STUDY, 1, b"uploaded", b"order", [LONG])
    journal.commit(STUDY, 1, b"ready", b"receipt", [], ends_round=True)
    for file in path.with_suffix(".uploads").iterdir():
        file.unlink()
    journal.commit(STUDY, 2, b"uploaded", b"order 2", [LONG])
    assert journal.replies(STUDY, b"order 2") == (LONG,)
    journal.close()


def test_a_second_answer_leaves_the_first_ones_file_alone(path: Path) -> None:
    journal = with_files(path)
    journal.commit(STUDY, 1, b"first", b"request", [LONG])
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        journal.commit(STUDY, 1, b"second", b"request", [LONG[::-1]])
    assert journal.replies(STUDY, b"request") == (LONG,)
    assert journal.state(STUDY) == b"first"
    journal.close()


class Died(Exception):
    """The process ended here."""


def _dies(*_: object) -> NoReturn:
    raise Died


def _full(*_: object) -> NoReturn:
    raise sqlite3.OperationalError("database or disk is full")


@pytest.mark.parametrize("over", [False, True])
def test_a_half_written_file_is_no_reply_and_does_not_stay(
    path: Path, monkeypatch: pytest.MonkeyPatch, over: bool
) -> None:
    """Also one that is written over another round's, and so has its length."""
    journal = with_files(path)
    if over:
        journal.commit(STUDY, 1, b"before", b"former order", [LONG[::-1]])
        journal.commit(STUDY, 1, b"ready", b"receipt", [], ends_round=True)
    written = os.write

    def dies(handle: int, data: memoryview) -> int:
        written(handle, data[: len(data) // 2])
        raise Died

    monkeypatch.setattr(os, "write", dies)
    with pytest.raises(Died):
        journal.commit(STUDY, 2, b"uploaded", b"order", [b"header", LONG])
    monkeypatch.undo()
    journal.close()
    assert [len(data) for data in uploads(path).values()] == [len(LONG) if over else len(LONG) // 2]
    again = with_files(path)
    assert not again.restored
    assert again.state(STUDY) == (b"ready" if over else None)
    assert (again.replies(STUDY, b"order"), uploads(path)) == (None, {})
    again.commit(STUDY, 2, b"uploaded", b"order", [b"header", LONG])
    assert again.replies(STUDY, b"order") == (b"header", LONG)
    again.close()


def test_the_file_is_whole_before_its_row_and_on_the_disk_before_the_next_answer(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = with_files(path)
    seen: list[str] = []
    write, fsync, sync = os.write, os.fsync, UploadFiles._sync

    def writes(handle: int, data: memoryview) -> int:
        with closing(sqlite3.connect(path)) as other:
            seen.append(f"written, rows {other.execute('SELECT count(*) FROM files').fetchone()[0]}")
        return write(handle, data)

    def syncs(handle: int) -> None:
        fsync(handle)
        seen.append("folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file")

    def slowly(files: UploadFiles, handles: list[int]) -> None:
        time.sleep(0.1)
        sync(files, handles)

    monkeypatch.setattr(os, "write", writes)
    monkeypatch.setattr(os, "fsync", syncs)
    monkeypatch.setattr(UploadFiles, "_sync", slowly)
    journal.commit(STUDY, 1, b"uploaded", b"order", [LONG, LONG])
    seen.append("upload leaves")
    journal.commit(STUDY, 1, b"agreed", b"agree", [b"signature"])
    seen.append("agreement leaves")
    assert seen == [
        "written, rows 0",
        "written, rows 0",
        "upload leaves",
        "file",
        "file",
        "folder",
        "agreement leaves",
    ]
    journal.close()


def test_nothing_is_answered_while_an_upload_cannot_reach_the_disk(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = with_files(path)

    def broken(_: int) -> None:
        raise OSError(errno.EIO, "the disk is broken")

    monkeypatch.setattr(os, "fsync", broken)
    journal.commit(STUDY, 1, b"uploaded", b"order", [LONG])
    with pytest.raises(UploadsUnsafe, match="broken"):
        journal.commit(STUDY, 1, b"agreed", b"agree", [b"signature"])
    # The disk says so once; that it takes everything now says nothing of what it lost.
    monkeypatch.undo()
    with pytest.raises(UploadsUnsafe, match="did not reach the disk"):
        journal.commit(STUDY, 1, b"agreed", b"agree", [b"signature"])
    assert (journal.state(STUDY), journal.replies(STUDY, b"agree")) == (b"uploaded", None)
    journal.close()


def test_a_disk_that_is_full_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = with_files(path)
    journal.commit(STUDY, 1, b"ready", b"request", [b"one"])

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="no space"):
        journal.commit(STUDY, 2, b"uploaded", b"order", [LONG])
    monkeypatch.undo()
    assert (journal.state(STUDY), journal.replies(STUDY, b"request")) == (b"ready", (b"one",))
    journal.commit(STUDY, 2, b"uploaded", b"order", [LONG])
    assert journal.replies(STUDY, b"order") == (LONG,)
    journal.close()


def test_a_missing_or_shortened_file_is_not_sent(path: Path) -> None:
    journal = with_files(path)
    journal.commit(STUDY, 1, b"uploaded", b"order", [LONG])
    (file,) = path.with_suffix(".uploads").iterdir()
    file.write_bytes(LONG[:-1])
    with pytest.raises(UploadLost):
        journal.replies(STUDY, b"order")
    file.unlink()
    with pytest.raises(UploadLost):
        journal.replies(STUDY, b"order")
    journal.close()


def test_a_restored_journal_takes_no_file_with_it(path: Path) -> None:
    journal = with_files(path)
    journal.commit(STUDY, 1, b"uploaded", b"order", [LONG])
    journal.close()
    copy = path.read_bytes()
    journal = with_files(path)
    journal.commit(STUDY, 2, b"uploaded", b"order 2", [LONG])
    journal.commit(STUDY, 3, b"uploaded", b"order 3", [LONG])
    journal.close()
    path.write_bytes(copy)
    again = with_files(path)
    assert again.restored
    assert (again.replies(STUDY, b"order"), uploads(path)) == (None, {})
    again.close()

"""Records of a study's rounds: written behind the caller's back, whole or not at all."""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing
from pathlib import Path
from typing import NoReturn

import pytest

from hospital_node.record_log import RecordLog
from hospital_node.sum_store import DATABASE, LOG, SumStore

LONG = bytes(range(200))


def store(folder: Path) -> SumStore:
    return SumStore(folder, long_bytes=len(LONG))


def names_in(folder: Path, log: bytes) -> list[str]:
    """The records of a log that held these bytes."""
    copy = folder / "copy"
    copy.write_bytes(log)
    names = RecordLog(copy).names()
    copy.unlink()
    return names


def test_short_and_long_records_are_there_after_reopening(tmp_path: Path) -> None:
    first = store(tmp_path / "sums")
    first.put("1.model", b"short")
    first.put("1.sum", b"head\n", LONG)
    first.put("2.model", b"", durable=False)
    first.wait()
    again = store(tmp_path / "sums")
    assert sorted(again.names()) == ["1.model", "1.sum", "2.model"]
    assert [again.get(name) for name in ("1.model", "1.sum", "2.model", "3.sum")] == [
        b"short",
        b"head\n" + LONG,
        b"",
        None,
    ]
    assert (tmp_path / "sums" / "1.sum").is_file()
    assert stat.S_IMODE((tmp_path / "sums").stat().st_mode) == 0o700


def test_what_was_put_is_read_at_once(tmp_path: Path) -> None:
    records = store(tmp_path)
    for number in range(20):
        records.put("1.model", b"%d" % number, durable=False)
    assert records.get("1.model") == b"19"


def test_a_half_written_file_is_no_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", _full)
        records.put("1.sum", LONG)
        with pytest.raises(OSError, match="no space"):
            records.wait()
    assert (records.names(), records.get("1.sum")) == ([], None)
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".draft"] == ["1.draft"]
    records.put("1.sum", LONG)
    assert records.get("1.sum") == LONG


def test_who_waits_is_told_of_each_write_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records = store(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", _full)
        records.put("1.model", b"short")
        records.put("2.model", LONG)
        with pytest.raises(OSError, match="no space"):
            records.wait()
        with pytest.raises(OSError, match="no space"):
            records.put("1.sum", b"short", durable=False)
    assert records.names() == ["2.model"]


def test_a_durable_record_waits_for_the_disk_with_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = store(tmp_path)
    synced, real = [], os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        synced.append((tmp_path / LOG).read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        records.put("1.model", b"x")
        records.wait()
        records.put("1.sum", b"x", durable=False)
        records.wait()
        assert len(synced) == 1
        records.put("2.follows", b"")
        records.wait()
    assert [names_in(tmp_path, log) for log in synced] == [["1.model"], ["1.model", "1.sum", "2.follows"]]


def test_a_durable_file_takes_the_records_before_it_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = store(tmp_path)
    records.put("1.sum", b"short", durable=False)
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (real(handle), synced.append(os.fstat(handle).st_ino)))
    records.put("2.model", LONG)
    records.wait()
    assert (tmp_path / LOG).stat().st_ino in synced


def test_what_waits_for_no_disk_is_not_written_ahead_of_what_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records, real = store(tmp_path), RecordLog.append

    def slowly(log: RecordLog, name: str, parts: tuple[bytes, ...]) -> None:
        time.sleep(0.1 if parts == (b"first",) else 0)
        real(log, name, parts)

    monkeypatch.setattr(RecordLog, "append", slowly)
    records.put("1.model", b"first")
    records.put("1.model", b"second", durable=False)
    assert records.get("1.model") == b"second"


def test_a_killed_process_leaves_what_waits_for_no_disk(tmp_path: Path) -> None:
    """Nobody waits, and no thread is given time."""
    records = store(tmp_path)
    records.put("1.sum", b"short", durable=False)
    assert RecordLog(tmp_path / LOG).get("1.sum") == b"short"


def test_what_an_earlier_version_kept_is_taken_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [("1.model", b"model"), ("1.sum", b"sum"), ("2.follows", b"")]
    earlier_version(tmp_path, rows)
    with monkeypatch.context() as patch:
        # The process ends before the database goes.
        patch.setattr(Path, "unlink", _full)
        with pytest.raises(OSError, match="no space"):
            store(tmp_path)
    assert (tmp_path / DATABASE).is_file()
    synced, real = list[bytes](), os.fsync

    def fsync(handle: int) -> None:
        real(handle)
        assert (tmp_path / DATABASE).exists()
        synced.append((tmp_path / LOG).read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        records = store(tmp_path)
    assert names_in(tmp_path, synced[-1]) == [name for name, _ in rows]
    assert {name: records.get(name) for name in records.names()} == dict(rows)
    assert [path.name for path in tmp_path.iterdir()] == [LOG]
    assert store(tmp_path).get("1.sum") == b"sum"


def earlier_version(folder: Path, rows: list[tuple[str, bytes]]) -> None:
    with closing(sqlite3.connect(folder / DATABASE, isolation_level=None)) as earlier:
        earlier.execute("PRAGMA journal_mode = WAL")
        earlier.execute("CREATE TABLE records (name TEXT PRIMARY KEY, data BLOB NOT NULL)")
        earlier.executemany("INSERT INTO records VALUES (?, ?)", rows)


def test_a_database_that_comes_back_brings_nothing_old_back(tmp_path: Path) -> None:
    """A loss of power may undo its end: what was kept since, of a round that was ordered again, stays; and nothing lies in the log twice."""
    earlier_version(tmp_path, [("1.sum", b"sum"), ("2.model", b"old")])
    held = (tmp_path / DATABASE).read_bytes()
    records = store(tmp_path)
    records.put("2.model", b"new")
    records.wait()
    length = (tmp_path / LOG).stat().st_size
    (tmp_path / DATABASE).write_bytes(held)
    again = store(tmp_path)
    assert (again.get("1.sum"), again.get("2.model")) == (b"sum", b"new")
    assert ((tmp_path / LOG).stat().st_size, (tmp_path / DATABASE).exists()) == (length, False)


@pytest.mark.parametrize("pragma", ["journal_mode = WAL", "user_version"])
def test_a_database_without_its_table_was_of_a_process_that_ended_at_once(
    tmp_path: Path, pragma: str
) -> None:
    with closing(sqlite3.connect(tmp_path / DATABASE)) as earlier:
        earlier.execute(f"PRAGMA {pragma}")
    (tmp_path / DATABASE).touch()
    assert (store(tmp_path).names(), (tmp_path / DATABASE).exists()) == ([], False)


def test_the_name_of_a_durable_file_is_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, real = [], os.fsync

    def fsync(handle: int) -> None:
        synced.append((stat.S_ISDIR(os.fstat(handle).st_mode), (tmp_path / "1.model").exists()))
        real(handle)

    records = store(tmp_path)
    monkeypatch.setattr(os, "fsync", fsync)
    records.put("1.model", LONG)
    records.wait()
    assert synced == [(False, False), (True, True)]


def _full(*_: object) -> NoReturn:
    raise OSError("no space left on device")

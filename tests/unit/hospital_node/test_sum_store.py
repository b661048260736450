"""Records of a study's rounds: written behind the caller's back, whole or not at all."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import pytest

from hospital_node.sum_store import DATABASE, SumStore

LONG = bytes(range(200))


def store(folder: Path) -> SumStore:
    return SumStore(folder, long_bytes=len(LONG))


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


def test_who_waits_is_told_of_each_write_that_failed(tmp_path: Path) -> None:
    records = store(tmp_path)
    records._database.execute("PRAGMA query_only = ON")
    records.put("1.sum", b"short", durable=False)
    records.put("2.model", LONG)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        records.wait()


def test_a_durable_row_waits_for_the_disk(tmp_path: Path) -> None:
    records = store(tmp_path)
    levels = []
    for durable in (True, False, True):
        records.put("1.model", b"x", durable=durable)
        records.wait()
        levels.append(records._database.execute("PRAGMA synchronous").fetchone()[0])
    assert levels == [2, 1, 2]
    assert records._database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert (tmp_path / DATABASE).is_file()


def test_a_durable_file_takes_the_rows_before_it_to_the_disk(tmp_path: Path) -> None:
    """What a loss of power leaves at least is what a checkpoint synced: the database without its log."""
    records = store(tmp_path / "sums")
    records.put("1.sum", b"short", durable=False)
    records.put("2.model", LONG)
    records.wait()
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / DATABASE).write_bytes((tmp_path / "sums" / DATABASE).read_bytes())
    assert store(copy).get("1.sum") == b"short"


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


def _full(_: int) -> None:
    raise OSError("no space left on device")

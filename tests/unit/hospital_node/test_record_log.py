"""The log of records: whole records in order, whatever a killed process, a loss of power or a full disk left behind."""

from __future__ import annotations

import fcntl
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hospital_node.record_log import LogDamaged, RecordLog
from privacy.link.command_line import exit_code_of

FIRST, SECOND = (b"head ", bytes(range(100))), (b"", b"another")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "records.log"


def written(path: Path) -> int:
    """Two records; where the second begins."""
    log = RecordLog(path)
    log.append("1.sum", FIRST)
    begins = path.stat().st_size
    log.append("2.follows", SECOND)
    return begins


def test_records_are_there_after_reopening_and_the_last_of_a_name_stays(path: Path) -> None:
    written(path)
    log = RecordLog(path)
    log.append("1.sum", (b"other",))
    again = RecordLog(path)
    assert again.names() == ["1.sum", "2.follows"]
    assert [again.get(name) for name in ("1.sum", "2.follows", "3.sum")] == [b"other", b"another", None]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_torn_end_is_cut_at_every_length(path: Path, tmp_path: Path) -> None:
    begins = written(path)
    whole = path.read_bytes()
    torn = tmp_path / "torn.log"
    for length in range(begins, len(whole)):
        torn.write_bytes(whole[:length])
        log = RecordLog(torn)
        assert (log.names(), torn.stat().st_size) == (["1.sum"], begins), length
        log.append("3.sum", SECOND)
        assert RecordLog(torn).get("3.sum") == b"another"


def test_a_page_that_did_not_reach_the_disk_ends_the_log(path: Path) -> None:
    """The file has its length, and some byte is not what was written: of lengths, checksum, name or data."""
    begins = written(path)
    whole = path.read_bytes()
    for place in range(begins, len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert (RecordLog(path).names(), path.stat().st_size) == (["1.sum"], begins), place


@pytest.mark.parametrize("reopened", [False, True])
def test_a_damaged_record_does_not_take_the_later_ones_along(path: Path, reopened: bool) -> None:
    """Three rounds, each with its wait for the disk: whatever happens to the first one's record, the others stay in the file."""
    log = RecordLog(path)
    for number in (1, 2, 3):
        log.append(f"{number}.sum", FIRST)
        begins, first = path.stat().st_size, number == 1
        log.append(f"{number}.follows", SECOND)
        log.sync()
        log = RecordLog(path) if reopened else log
        if first:
            second = begins
    whole = path.read_bytes()
    for place in range(second):
        damaged = whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]
        path.write_bytes(damaged)
        with pytest.raises(LogDamaged, match=r"damaged at byte 0, .* move it away") as caught:
            RecordLog(path)
        assert path.read_bytes() == damaged
    assert exit_code_of(caught.value) == 2


def test_what_waited_for_no_disk_may_be_lost_before_what_was_written_behind_it(path: Path) -> None:
    """A loss of power takes pages in any order: of two records that nobody waited for, the second may be whole."""
    log = RecordLog(path)
    log.append("1.sum", FIRST)
    log.sync()
    begins = path.stat().st_size
    log.append("2.sum", FIRST)
    log.append("3.follows", SECOND)
    whole = path.read_bytes()
    path.write_bytes(whole[: begins + 10] + bytes(50) + whole[begins + 60 :])
    assert (RecordLog(path).names(), path.stat().st_size) == (["1.sum"], begins)


def test_what_was_cut_is_off_the_disk_before_the_next_record(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins = written(path)
    path.write_bytes(path.read_bytes()[:-1])
    synced, real = [], os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (synced.append(os.fstat(handle).st_size), real(handle)))
    RecordLog(path)
    assert synced == [begins]


@pytest.mark.parametrize("short", [False, True])
def test_a_full_disk_leaves_the_records_before(
    path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    log = RecordLog(path)
    log.append("1.sum", FIRST)
    before = path.read_bytes()
    real = os.pwritev

    def full(handle: int, pieces: tuple[bytes, ...], place: int) -> int:
        took = real(handle, pieces[:3], place)
        if short:
            return took
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwritev", full)
        with pytest.raises(OSError, match=r"no space|took a part"):
            log.append("2.follows", SECOND)
    assert (path.read_bytes(), log.get("2.follows")) == (before, None)
    log.append("3.sum", SECOND)
    assert RecordLog(path).names() == ["1.sum", "3.sum"]


def test_of_two_processes_neither_writes_over_the_other(path: Path) -> None:
    one, other = RecordLog(path), RecordLog(path)
    one.append("1.sum", FIRST)
    other.append("2.follows", SECOND)
    one.append("3.sum", SECOND)
    assert one.names() == ["1.sum", "2.follows", "3.sum"]
    assert one.get("2.follows") == b"another"
    assert RecordLog(path).names() == one.names()


def test_who_opens_it_waits_for_the_end_of_a_write(path: Path) -> None:
    """Half of another process's record looks like what a killed one left, and would be cut."""
    begins = written(path)
    whole = path.read_bytes()
    with path.open("r+b") as other, ThreadPoolExecutor(1) as opens:
        fcntl.flock(other, fcntl.LOCK_EX)
        other.truncate(begins + 20)
        opened = opens.submit(RecordLog, path)
        with pytest.raises(TimeoutError):
            opened.result(0.05)
        other.seek(0)
        other.write(whole)
        other.flush()
        fcntl.flock(other, fcntl.LOCK_UN)
        assert opened.result(5).names() == ["1.sum", "2.follows"]


def test_the_name_of_a_new_log_is_on_the_disk(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced, real = [], os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (synced.append(stat.S_ISDIR(os.fstat(handle).st_mode)), real(handle))
    )
    log = RecordLog(path)
    assert synced == [True]
    log.append("1.sum", FIRST)
    log.sync()
    RecordLog(path)
    assert synced == [True, False, False]

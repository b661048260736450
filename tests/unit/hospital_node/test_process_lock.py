"""One process alone has a hospital's journal, whatever became of the one before."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hospital_node.journal import Journal, JournalTaken
from hospital_node.process_lock import LOCK_SUFFIX, LockTaken, NoLocks, ProcessLock
from privacy.link.command_line import exit_code_of

STUDY = bytes(32)
LONG = b"a masked vector " * 100

# Stops where its upload is in its file and its row in no journal that others could read.
_IN_THE_MIDDLE = """
import sys, time
from pathlib import Path
from hospital_node.journal import Journal
journal = Journal(Path(sys.argv[1]), file_bytes=100)
keep = journal._files.keep
def kept(replies):
    keep(replies)
    print("kept", flush=True)
    sys.stdin.readline()
journal._files.keep = kept
journal.commit(bytes(32), 1, b"uploaded", b"order", [b"a masked vector " * 100])
print("committed", flush=True)
sys.stdin.readline()
"""


def without_lock(path: Path) -> None:
    """Somebody deletes the lock's file of a journal: the next process makes one of its own, and nothing but the journal stands between the two."""
    path.with_suffix(LOCK_SUFFIX).unlink()


def test_a_second_process_touches_nothing_of_the_first_ones_upload(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    first = subprocess.Popen(
        [sys.executable, "-c", _IN_THE_MIDDLE, str(path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=os.getcwd(),
    )  # fmt: skip
    assert first.stdin is not None
    assert first.stdout is not None
    try:
        assert first.stdout.readline() == "kept\n"
        with pytest.raises(JournalTaken, match="run only one") as caught:
            Journal(path)
        assert exit_code_of(caught.value) == 3
        assert len(list(path.with_suffix(".uploads").iterdir())) == 1
        first.stdin.write("\n")
        first.stdin.flush()
        assert first.stdout.readline() == "committed\n"
        # Killed, it lets go.
        first.send_signal(signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    finally:
        first.kill()
        first.wait()
        first.stdin.close()
        first.stdout.close()
    second = Journal(path, file_bytes=100)
    assert second.replies(STUDY, b"order") == (LONG,)
    second.close()


def test_a_journal_that_was_closed_can_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    Journal(path).close()
    lock = path.with_suffix(LOCK_SUFFIX)
    assert (stat.S_IMODE(lock.stat().st_mode), lock.stat().st_size) == (0o600, 0)
    again = Journal(path)
    with pytest.raises(JournalTaken):
        Journal(path)
    again.commit(STUDY, 1, b"one", b"request", [b"reply"])
    again.close()


def test_a_forked_process_keeps_the_lock_and_cannot_give_it_away(tmp_path: Path) -> None:
    lock = ProcessLock(tmp_path / "lock")
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        lock.release()
        os.write(writer, b"released")
        os._exit(0)
    assert os.read(reader, 20) == b"released"
    os.waitpid(child, 0)
    with pytest.raises(LockTaken):
        ProcessLock(tmp_path / "lock")
    lock.release()
    ProcessLock(tmp_path / "lock").release()
    for end in (reader, writer):
        os.close(end)


def test_where_nothing_can_be_locked_nobody_takes_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def without(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("hospital_node.process_lock.fcntl.flock", without)
    with pytest.raises(NoLocks, match="put --home on a disk of this machine") as caught:
        Journal(tmp_path / "journal.db")
    assert exit_code_of(caught.value) == 2

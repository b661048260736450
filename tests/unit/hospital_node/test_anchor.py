"""The journal beside its anchor: older copies are noticed, crashes between the two are not mistaken for copies."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hospital_node.anchor import Anchor
from hospital_node.journal import Journal

STUDY = bytes(32)


class Died(Exception):
    """The process ended here."""


def dies(*_: object) -> None:
    raise Died


def write(path: Path, *rounds: int) -> None:
    journal = Journal(path)
    for number in rounds:
        journal.commit(STUDY, number, b"state %d" % number, b"request %d" % number, [b"reply"])
    journal.close()


def reopen(path: Path) -> tuple[bool, bytes | None, int]:
    journal = Journal(path)
    found = journal.restored, journal.state(STUDY), journal.floor(STUDY)
    journal.close()
    return found


def test_journal_that_was_not_touched_is_itself(tmp_path: Path) -> None:
    write(tmp_path / "j.db", 1, 2)
    write(tmp_path / "j.db", 3)
    assert reopen(tmp_path / "j.db") == (False, b"state 3", 3)


@pytest.mark.threat("FL-08", control="C-ONESHARE")
@pytest.mark.parametrize("copied_after", [0, 1, 2])
def test_older_copy_is_noticed_and_its_sessions_dropped(tmp_path: Path, copied_after: int) -> None:
    path = tmp_path / "j.db"
    write(path, *range(1, copied_after + 1))
    shutil.copy(path, tmp_path / "copy.db")
    write(path, *range(copied_after + 1, 4))
    shutil.copy(tmp_path / "copy.db", path)
    assert reopen(path) == (True, None, 3)
    write(path, 4)
    assert reopen(path) == (False, b"state 4", 4)


def test_lost_journal_is_noticed(tmp_path: Path) -> None:
    write(tmp_path / "j.db", 1)
    (tmp_path / "j.db").unlink()
    assert reopen(tmp_path / "j.db") == (True, None, 1)


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_a_copy_is_noticed_each_time_it_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    write(path, 1)
    shutil.copy(path, tmp_path / "copy.db")
    write(path, 2)
    for _ in range(2):
        shutil.copy(tmp_path / "copy.db", path)
        assert reopen(path) == (True, None, 2)


def test_a_copy_from_one_step_ahead_is_noticed_after_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A journal that died before its anchor knew may go on once, not after the anchor went on without it."""
    path = tmp_path / "j.db"
    write(path, 1)
    shutil.copy(path, tmp_path / "before.db")
    journal = Journal(path)
    with monkeypatch.context() as patch:
        patch.setattr(Anchor, "keep", dies)
        with pytest.raises(Died):
            journal.commit(STUDY, 2, b"state 2", b"request 2", [b"reply"])
    journal.close()
    shutil.copy(path, tmp_path / "ahead.db")
    shutil.copy(tmp_path / "before.db", path)
    write(path, 3)
    shutil.copy(tmp_path / "ahead.db", path)
    assert reopen(path) == (True, None, 3)


@pytest.mark.parametrize(("place", "state", "floor"), [("before", b"state 1", 1), ("between", b"state 2", 2)])
def test_death_between_the_two_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, state: bytes, floor: int
) -> None:
    """Before the journal's commit, and between it and the anchor's: nothing was sent, so that both go on."""
    path = tmp_path / "j.db"
    write(path, 1)
    journal = Journal(path)
    with monkeypatch.context() as patch:
        if place == "before":
            patch.setattr(Journal, "_ends", dies)
        else:
            patch.setattr(Anchor, "keep", dies)
        with pytest.raises(Died):
            journal.commit(STUDY, 2, b"state 2", b"request", [])
    journal.close()
    assert reopen(path) == (False, state, floor)


def test_anchor_may_lie_elsewhere_and_is_private(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    anchor = tmp_path / "other" / "anchor"
    Journal(tmp_path / "j.db", anchor).close()
    assert anchor.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "j.anchor").exists()

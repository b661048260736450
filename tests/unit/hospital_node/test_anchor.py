"""The journal beside its anchor: older copies are noticed, crashes between the two are not mistaken for copies."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hospital_node.anchor import Anchor, AnchorLost, share_a_volume
from hospital_node.home import Home
from hospital_node.journal import FILE_BYTES, Journal
from hospital_node.upload_files import UploadFiles
from privacy.link.command_line import exit_code_of
from secagg.wire import codec
from secagg.wire.records import Abort
from tests.consortium import Hand, World, offer
from tests.unit.hospital_node.test_process_lock import without_lock

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
            patch.setattr(Journal, "_forget_answers", dies)
        else:
            patch.setattr(Anchor, "keep", dies)
        with pytest.raises(Died):
            journal.commit(STUDY, 2, b"state 2", b"request", [b"reply"])
    journal.close()
    assert reopen(path) == (False, state, floor)


def quietly(journal: Journal, number: int) -> None:
    """A step of which nothing leaves."""
    journal.commit(STUDY, number, b"state %d" % number, b"request %d" % number, [])


@pytest.mark.parametrize("place", ["behind them", "in an answer behind them", "beside its anchor"])
def test_death_after_steps_of_which_nothing_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """The anchor was told of none of them; the journal still names the hash that it was told of last."""
    path = tmp_path / "j.db"
    journal = Journal(path)
    journal.commit(STUDY, 1, b"state 1", b"request 1", [b"reply"])
    quietly(journal, 2)
    quietly(journal, 3)
    with monkeypatch.context() as patch:
        if place != "behind them":
            patch.setattr(Anchor if place == "beside its anchor" else UploadFiles, "keep", dies)
            with pytest.raises(Died):
                journal.commit(STUDY, 4, b"state 4", b"request 4", [bytes(FILE_BYTES)])
    journal.close()
    restored, state, _ = reopen(path)
    assert not restored
    assert state == (b"state 4" if place == "beside its anchor" else b"state 3")


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_a_copy_with_steps_of_which_nothing_was_sent_is_noticed_after_the_next_answer(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = Journal(path)
    journal.commit(STUDY, 1, b"state 1", b"request 1", [b"reply"])
    quietly(journal, 2)
    journal.close()
    shutil.copy(path, tmp_path / "copy.db")
    journal = Journal(path)
    quietly(journal, 3)
    journal.commit(STUDY, 4, b"state 4", b"request 4", [b"reply"])
    journal.close()
    shutil.copy(tmp_path / "copy.db", path)
    assert reopen(path) == (True, None, 4)


def test_what_is_answered_waits_for_the_disk_and_what_is_not_does_not(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.db")
    waits: list[int] = []

    def look(statement: str) -> None:
        if statement == "COMMIT":
            waits.append(level())

    def level() -> int:
        journal._db.set_trace_callback(None)
        found = int(journal._db.execute("PRAGMA synchronous").fetchone()[0])
        journal._db.set_trace_callback(look)
        return found

    journal._db.set_trace_callback(look)
    quietly(journal, 1)
    journal.commit(STUDY, 1, b"state", b"request", [b"reply"])
    quietly(journal, 2)
    journal.commit(STUDY, 2, b"state", b"graph", [], graphs=("study", 1))
    journal.close()
    assert waits == [1, 2, 1, 2], "1 is NORMAL, 2 is FULL"


def break_disk(journal: Journal) -> None:
    """The anchor's volume takes no more writes."""
    journal._anchor._db.execute("PRAGMA query_only = ON")


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_an_anchor_that_cannot_be_written_stops_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "j.db"
    journal = Journal(path)
    journal.commit(STUDY, 1, b"state 1", b"request 1", [b"reply"])
    break_disk(journal)
    with pytest.raises(AnchorLost, match=r"j\.anchor.*readonly.*start again"):
        journal.commit(STUDY, 2, b"state 2", b"request 2", [b"reply"])
    # The commit is in the journal, but nothing may be answered from it, also when the disk is well again.
    journal._anchor._db.execute("PRAGMA query_only = OFF")
    for request in (b"request 1", b"request 2"):
        with pytest.raises(AnchorLost):
            journal.replies(STUDY, request)
    with pytest.raises(AnchorLost):
        journal.commit(STUDY, 3, b"state 3", b"request 3", [b"reply"])
    journal.close()
    assert reopen(path) == (False, b"state 2", 2)


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_the_node_stops_with_its_anchor(tmp_path: Path) -> None:
    hand = Hand(World.of(tmp_path)).join()
    break_disk(hand.world.nodes["a"].journal)
    _, order = hand.order(1)
    for _ in range(2):
        with pytest.raises(AnchorLost) as stopped:
            next(hand.world.nodes["a"].on_message(order))
        assert exit_code_of(stopped.value) == 2


@pytest.mark.threat("FL-08", control="C-ONESHARE")
@pytest.mark.parametrize("forgets", [False, True])
def test_the_anchor_knows_the_rounds_that_journal_and_ledger_forgot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forgets: bool
) -> None:
    """Both come back from a copy taken before round 1: a new session still starts above it."""
    hand = Hand(World.of(tmp_path)).join()
    world, home = hand.world, tmp_path / "state" / "a"
    files = ("journal.db", "ledger.db")
    _stop(world)
    for file in files:
        shutil.copy(home / file, tmp_path / file)
    world.nodes["a"] = world.new_node("a")
    hand.ask("a", offer(world))
    _, order = hand.order(1)
    assert hand.ask("a", order)
    assert world.ledger("a") == [("RESERVE", 1), ("SPENT", 1)]
    _stop(world)
    for file in files:
        shutil.copy(tmp_path / file, home / file)
    world.nodes["a"] = world.new_node("a")
    assert world.ledger("a") == []
    if forgets:
        monkeypatch.setattr(Journal, "floor", lambda *_: 0)
    hand.join(told=())
    answer = hand.ask("a", hand.key_list)
    if forgets:
        assert answer == []
        _, order = hand.order(1)
        assert codec.unwrap(hand.ask("a", order)[0])[0] == "upload_header", "the same round is answered twice"
    else:
        assert "round 1" in codec.unpack("abort", Abort, answer[0]).reason


def _stop(world: World) -> None:
    world.nodes["a"].journal.close()
    world.nodes["a"].ledger.close()


def test_one_volume_or_two() -> None:
    here = Path(__file__)
    assert share_a_volume(here, here.with_name("other"))
    assert not share_a_volume(here, Path("/proc/anchor"))


def test_the_policy_names_the_anchor(tmp_path: Path) -> None:
    home = Home(tmp_path)
    assert home.anchor("") == tmp_path / "state" / "session" / "journal.anchor"
    assert home.anchor("anchors/north") == tmp_path / "anchors" / "north"
    assert home.anchor("/mnt/anchor") == Path("/mnt/anchor")
    with pytest.raises(AnchorLost, match="mount or free its volume"):
        Journal(tmp_path / "j.db", tmp_path / "nowhere" / "anchor")


def test_anchor_may_lie_elsewhere_and_is_private(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    anchor = tmp_path / "other" / "anchor"
    Journal(tmp_path / "j.db", anchor).close()
    assert anchor.stat().st_mode & 0o777 == 0o600
    assert not (tmp_path / "j.anchor").exists()


def test_a_second_process_that_was_opened_makes_no_crash_of_the_first_a_restored_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It told the anchor of a step of which nothing left; then the first one answers, and dies before its anchor."""
    path = tmp_path / "journal.db"
    first = Journal(path)
    first.commit(STUDY, 1, b"1", b"request 1", [b"reply"])
    first.commit(STUDY, 1, b"2", b"request 2", [])
    without_lock(path)
    second = Journal(path)
    with monkeypatch.context() as crash:
        crash.setattr(Anchor, "keep", dies)
        with pytest.raises(Died):
            first.commit(STUDY, 1, b"3", b"request 3", [b"reply"])
    for journal in (first, second):
        journal.close()
    assert not Journal(path).restored


def test_nobody_answers_between_what_an_opening_reads_and_what_the_anchor_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise the anchor falls back behind an answer, and a copy from before that is not noticed."""
    path, tried = tmp_path / "journal.db", []
    Journal(path).close()

    def writes(_: Anchor, *__: object) -> None:
        with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as other:
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
            tried.append(path)

    monkeypatch.setattr(Anchor, "keep", writes)
    Journal(path).close()
    assert tried == [path]


def test_no_count_of_an_anchor_falls(tmp_path: Path) -> None:
    for number in (2, 1):
        # Of another process each time: what one told before it does not tell again.
        anchor = Anchor(tmp_path / "j.anchor")
        anchor.keep(b"head", [(STUDY, number)], [(STUDY, number)])
        assert (anchor.floor(STUDY), anchor.graphs(STUDY)) == (2, 2)
        anchor.close()


def test_each_step_of_a_round_is_kept_and_each_round_of_each_study(tmp_path: Path) -> None:
    """A round that was told is not told again: the steps behind it change the hash alone."""
    anchor, other = Anchor(tmp_path / "anchor"), b"\x02" * 32
    statements: list[str] = []
    anchor._db.set_trace_callback(statements.append)
    anchor.keep(b"1", [(STUDY, 3)])
    assert "BEGIN IMMEDIATE" in statements
    statements.clear()
    anchor.keep(b"2", [(STUDY, 3)])
    assert len(statements) == 1
    assert Anchor(tmp_path / "anchor").last == b"2"
    anchor.keep(b"3", [(STUDY, 3), (other, 1)])
    anchor.keep(b"4", [(STUDY, 4)])
    anchor.keep(b"5", [(STUDY, 4)], [(STUDY, 2)])
    found = Anchor(tmp_path / "anchor")
    assert (found.last, found.floor(STUDY), found.floor(other), found.graphs(STUDY)) == (b"5", 4, 1, 2)

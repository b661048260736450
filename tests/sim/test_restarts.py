"""A hospital's process dies at every point of a study and comes back as a new one on the same files."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from coordinator.gather import Gatherer
from hospital_node.journal import Journal
from secagg.wire import codec
from tests.bent_link import BentLink
from tests.consortium import HOSPITALS, World

VICTIM = "d"
ONE_ROUND = (("rounds = 2", "rounds = 1"),)


class Crash(BaseException):
    """SIGKILL, in one process."""


def crash(*_: object, **__: object) -> NoReturn:
    raise Crash


class CrashingLink(BentLink):
    """Kills the victim once, at its first message of a kind, and lets a new process dial in at once.

    Moments: "before" the message is read, "reserved" (nothing is spent yet), "spent" (the journal holds nothing yet), "stored" (nothing is
    sent yet), "first" (one reply of several is sent).
    """

    def __init__(self, world: World, kind: str, moment: str) -> None:
        super().__init__(world.nodes, world.clock)
        self.world, self.kind, self.moment = world, kind, moment
        self.died = False

    def send(self, hospital: str, message: bytes) -> None:
        if self.died or (hospital, codec.unwrap(message)[0]) != (VICTIM, self.kind):
            super().send(hospital, message)
            return
        self.died = True
        node = self.nodes[hospital]
        match self.moment:
            case "reserved":
                node.ledger.spend = crash  # type: ignore[method-assign]  # the process ends here
            case "spent":
                node.journal.commit = crash  # type: ignore[method-assign]  # the process ends here
        if self.moment != "before":
            with suppress(Crash):
                for reply in node.on_message(message):
                    if self.moment == "first":
                        self.answered.append((hospital, codec.unwrap(reply)[0], reply))
                        self.put(hospital, reply)
                        break
        self.world.restart(hospital)
        self.cut(hospital)
        self.back(hospital, fresh=True)


def never_two_of_anything(world: World) -> None:
    """Per hospital and round: one header, one vector, one reservation, at most one SPENT."""
    for hospital in HOSPITALS:
        for kind in ("upload_header", "vector_chunk"):
            different = {m for who, k, m in world.link.answered if (who, k) == (hospital, kind)}
            assert len(different) <= 2, "two rounds, so at most two different messages of each kind"
        assert all(count == 1 for count in Counter(world.ledger(hospital)).values())


WITH_REPLIES = [
    ("study_offer", "before"),
    ("session_start", "before"),
    ("session_start", "stored"),
    ("key_list", "before"),
    ("key_list", "stored"),
    ("round_order", "before"),
    ("round_order", "reserved"),
    ("round_order", "stored"),
    ("round_order", "first"),
    ("agree_request", "before"),
    ("agree_request", "spent"),
    ("agree_request", "stored"),
]


@pytest.mark.parametrize(("kind", "moment"), WITH_REPLIES)
def test_a_hospital_that_comes_back_stays_in_every_sum(tmp_path: Path, kind: str, moment: str) -> None:
    world = World.of(tmp_path, *ONE_ROUND)
    world.link = CrashingLink(world, kind, moment)
    run, executed = world.execute()
    assert world.link.died
    assert executed.failed is None
    for outcome in run.outcomes:
        assert (outcome.answered, outcome.missing) == (HOSPITALS, ())
        np.testing.assert_array_equal(outcome.total, world.recorded(outcome.round, HOSPITALS))
    never_two_of_anything(world)
    assert world.ledger(VICTIM)[:-1] == [("RESERVE", 1), ("SPENT", 1), ("RESERVE", 2), ("SPENT", 2)]


def test_what_was_spent_and_not_stored_never_leaves(tmp_path: Path) -> None:
    world = World.of(tmp_path, *ONE_ROUND)
    world.link = CrashingLink(world, "round_order", "spent")
    run, executed = world.execute()
    assert executed.failed is None
    first, second = run.outcomes
    assert (first.answered, second.answered) == (("a", "b", "c"), HOSPITALS)
    assert [(s.hospital, s.step, s.kind) for s in first.missing] == [(VICTIM, "upload", "abort")]
    assert "a retry is a new round" in first.missing[0].reason
    np.testing.assert_array_equal(first.total, world.recorded(1, "abc"))
    never_two_of_anything(world)
    assert world.ledger(VICTIM)[:-1] == [("RESERVE", 1), ("SPENT", 1), ("RESERVE", 2), ("SPENT", 2)]


@pytest.mark.parametrize("moment", ["before", "spent", "stored"])
def test_a_hospital_that_dies_at_open_is_in_the_sum_and_named(tmp_path: Path, moment: str) -> None:
    """Three shares open the sum; nobody waits for the fourth hospital, which is back in the next round."""
    world = World.of(tmp_path, *ONE_ROUND)
    world.link = CrashingLink(world, "open_request", moment)
    run, executed = world.execute()
    assert executed.failed is None
    assert [o.answered for o in run.outcomes] == [HOSPITALS, HOSPITALS]
    assert [[(s.hospital, s.step) for s in o.missing] for o in run.outcomes] == [[(VICTIM, "open")], []]
    for outcome in run.outcomes:
        np.testing.assert_array_equal(outcome.total, world.recorded(outcome.round, HOSPITALS))
    never_two_of_anything(world)


@pytest.mark.parametrize("moment", ["before", "stored"])
def test_a_receipt_that_a_dying_process_missed_does_not_lock_it_out(tmp_path: Path, moment: str) -> None:
    world = World.of(tmp_path, *ONE_ROUND)
    world.link = CrashingLink(world, "receipt", moment)
    run, executed = world.execute()
    assert executed.failed is None
    assert [(o.answered, o.missing) for o in run.outcomes] == [(HOSPITALS, ())] * 2
    never_two_of_anything(world)


def test_without_the_greeting_a_hospital_that_died_before_its_key_list_is_locked_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    greet = Gatherer.greet

    def offers_only(gatherer: Gatherer, hospital: str, message: bytes) -> None:
        if codec.unwrap(message)[0] == "study_offer":
            greet(gatherer, hospital, message)

    monkeypatch.setattr(Gatherer, "greet", offers_only)
    world = World.of(tmp_path, *ONE_ROUND)
    world.link = CrashingLink(world, "key_list", "before")
    run, _ = world.execute()
    assert [o.answered for o in run.outcomes] == [("a", "b", "c")] * 2


def test_without_the_journal_the_restarted_hospital_is_lost_from_the_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.of(tmp_path, *ONE_ROUND)
    world.link = CrashingLink(world, "round_order", "stored")
    monkeypatch.setattr(Journal, "replies", lambda *_: None)
    run, _ = world.execute()
    assert run.outcomes[0].answered == ("a", "b", "c")
    never_two_of_anything(world)


def test_a_cut_without_a_new_process_is_forgiven_within_the_grace(tmp_path: Path) -> None:
    world = World.of(tmp_path, *ONE_ROUND)
    done: list[str] = []

    def up(hospital: str, kind: str, message: bytes) -> tuple[bytes, ...]:
        if (hospital, kind) == (VICTIM, "agreement") and not done:
            done.append(kind)
            world.link.cut(VICTIM)
            world.link.back(VICTIM, fresh=False)
        return (message,)

    world.link.up = up
    run, executed = world.execute()
    assert executed.failed is None
    assert done == ["agreement"]
    assert run.outcomes[0].answered == HOSPITALS


@pytest.mark.parametrize(
    ("kind", "step", "members", "reason"),
    [("agreement", "agree", "abc", "it was cut off"), ("shares", "open", "abcd", "it is not connected")],
)
def test_a_hospital_that_stays_away_is_named_with_the_lost_connection(
    tmp_path: Path, kind: str, step: str, members: str, reason: str
) -> None:
    world = World.of(tmp_path, *ONE_ROUND)

    def up(hospital: str, said: str, message: bytes) -> tuple[bytes, ...]:
        if (hospital, said) != (VICTIM, kind):
            return (message,)
        world.link.cut(VICTIM)
        return ()

    world.link.up = up
    run, executed = world.execute()
    assert executed.failed is None
    first = run.outcomes[0]
    assert first.answered == tuple(members)
    assert [(s.hospital, s.step, s.kind) for s in first.missing] == [(VICTIM, step, "lost")]
    assert reason in first.missing[0].reason
    np.testing.assert_array_equal(first.total, world.recorded(1, members))
    # The rest of the study goes on without it, and the result says so.
    assert run.outcomes[1].answered == ("a", "b", "c")
    assert world.ledger(VICTIM)[:2] == [("RESERVE", 1), ("SPENT", 1)]

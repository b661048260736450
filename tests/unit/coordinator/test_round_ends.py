"""The end of a round is on the disk before anybody hears of it, and an order may be known to have left before it does; a process that dies anywhere between loses and doubles nothing."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest

from coordinator.disk_faults import DiskFault
from coordinator.link import LinkEvent
from coordinator.round_ends import RoundEnds
from coordinator.state import CoordinatorState, StoredRound
from coordinator.study_run import StudyRun
from privacy.studies.exchange import ExchangeError
from tests.bent_link import BentLink
from tests.consortium import HOSPITALS, World

LAST = 3  # The life table's round and two of training.


class Stopped(BaseException):
    """The coordinator's process ends here, by a signal that it heeds, or without another word where `dead` is used."""


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Hospitals whose policies bear with an aborted round."""
    world = World.of(tmp_path)
    for node in world.nodes.values():
        world.with_policy(node, aborted_rounds_maximum=3)
    return world


class Disk:
    """What somebody else reads in the coordinator's state, at every message on its way to a hospital."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.at: list[tuple[str, set[int], set[int]]] = []

    def __call__(self, hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if kind in ("round_order", "receipt"):
            with sqlite3.connect(self.world.root / "coordinator.db") as other:
                stored = {int(n) for (n,) in other.execute("SELECT round FROM rounds")}
                begun = {int(n) for (n,) in other.execute("SELECT round FROM begun")}
            other.close()
            self.at.append((kind, stored, begun))
        return (message,)

    def seen(self, kind: str) -> list[tuple[set[int], set[int]]]:
        return [(stored, begun) for what, stored, begun in self.at if what == kind]


def slow(real: Callable[..., None]) -> Callable[..., None]:
    """The disk takes its time, so that whoever does not wait for it is too early."""

    def later(*args: object, **named: object) -> None:
        time.sleep(0.05)
        real(*args, **named)

    return later


def on_disk_first(world: World) -> bool:
    """Whether each receipt followed its round's row, and each order the rows of its own beginning and of the round before."""
    disk = world.link.down = Disk(world)
    world.execute()
    orders, receipts = disk.seen("round_order"), disk.seen("receipt")
    four = len(HOSPITALS)
    assert len(orders) == len(receipts) == LAST * four
    return all(
        set(range(1, number)) <= stored and number in begun
        for number, (stored, begun) in ((1 + i // four, seen) for i, seen in enumerate(orders))
    ) and all(
        number in stored for number, (stored, _) in ((1 + i // four, s) for i, s in enumerate(receipts))
    )


def test_rounds_are_on_the_disk_before_receipts_and_orders_leave(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CoordinatorState, "add_round", slow(CoordinatorState.add_round))
    assert on_disk_first(world)


def unwaited(self: RoundEnds) -> None:
    if self._written is not None:
        (outcome, _), self._written = self._written, None
        self._may_begin = outcome.round + 1
        self._send(outcome)


@pytest.mark.parametrize("control", ["wait", "begin"])
def test_without_the_waits_something_leaves_too_early(
    world: World, monkeypatch: pytest.MonkeyPatch, control: str
) -> None:
    monkeypatch.setattr(CoordinatorState, "add_round", slow(CoordinatorState.add_round))
    if control == "wait":
        monkeypatch.setattr(RoundEnds, "announce", unwaited)
    else:
        monkeypatch.setattr(RoundEnds, "begin", lambda *_: None)
    assert not on_disk_first(world)


NO_SPACE, BROKEN = OSError(28, "No space left on device"), sqlite3.OperationalError("disk I/O error")


@pytest.mark.parametrize(("number", "error"), [(1, BROKEN), (2, NO_SPACE), (2, BROKEN), (LAST, NO_SPACE)])
def test_a_round_that_cannot_be_stored_ends_the_run_and_nobody_hears_of_it(
    world: World, monkeypatch: pytest.MonkeyPatch, number: int, error: Exception
) -> None:
    real = CoordinatorState.add_round

    def full(self: CoordinatorState, study: bytes, stored: StoredRound, *, begins_next: bool = False) -> None:
        if stored.round == number:
            raise error
        real(self, study, stored, begins_next=begins_next)

    monkeypatch.setattr(CoordinatorState, "add_round", full)
    with pytest.raises(type(error), match=str(error.args[-1])):
        world.execute()
    four = len(HOSPITALS)
    sent = [kind for _, kind, _ in world.link.sent]
    assert (sent.count("receipt"), sent.count("round_order")) == ((number - 1) * four, number * four)
    assert "study_end" not in sent
    assert [p.event for p in world.progress].count("round_done") == number - 1


@pytest.fixture
def dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is killed puts nothing in order; what its thread writes is one commit, there or not."""
    monkeypatch.setattr(RoundEnds, "close", lambda self: self._writer.shutdown())


def killed(world: World, kind: str, count: int) -> None:
    """The coordinator's process ends as it sends its count-th message of a kind."""
    left = [count]

    def down(hospital: str, what: str, message: bytes) -> Iterable[bytes]:
        left[0] -= what == kind
        if not left[0]:
            raise Stopped
        return (message,)

    world.link.down = down
    with pytest.raises(Stopped):
        world.execute()


def restarted(world: World) -> StudyRun:
    """New processes of the coordinator and of the hospitals over the same files."""
    world.link = BentLink(world.nodes, world.clock)
    for hospital in HOSPITALS:
        world.with_policy(world.restart(hospital), aborted_rounds_maximum=3)
    run, executed = world.execute()
    assert executed.failed is None
    return run


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("kind", ["round_order", "receipt"])
@pytest.mark.parametrize("count", [5, 8])
def test_a_coordinator_that_dies_between_two_rounds_loses_one_at_most(
    world: World, kind: str, count: int
) -> None:
    """Round 2 is the one whose order, or receipt, reaches none or some of the hospitals."""
    killed(world, kind, count)
    run = restarted(world)
    lost = {"round_order": 2, "receipt": 3}[kind]
    assert [(o.round, o.status) for o in run.outcomes] == [
        (n, "aborted" if n == lost else "done") for n in range(1, LAST + 1)
    ]
    for outcome in run.outcomes:
        if outcome.status == "done":
            np.testing.assert_array_equal(outcome.total, world.recorded(outcome.round, HOSPITALS))
    for hospital in HOSPITALS:
        rounds = [number for kind, number in world.ledger(hospital) if kind == "RESERVE"]
        assert rounds == sorted(set(rounds)), "no round is charged twice"


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("taken_back", [True, False])
def test_a_round_that_waits_for_hospitals_is_not_lost_with_the_process(
    world: World, monkeypatch: pytest.MonkeyPatch, taken_back: bool
) -> None:
    """Two go away with round 2's receipt, the coordinator dies while it waits for them; then all are back."""
    receipts = 0

    def down(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        nonlocal receipts
        receipts += kind == "receipt"
        if receipts > len(HOSPITALS):
            for gone in "cd":
                if gone in world.link.connected():
                    world.link.cut(gone)
        return (message,)

    real = BentLink.receive

    def dies(self: BentLink, timeout_s: float) -> LinkEvent | None:
        event = real(self, timeout_s)
        if event is None and timeout_s > 0:
            raise Stopped
        return event

    world.link.down = down
    monkeypatch.setattr(BentLink, "receive", dies)
    if not taken_back:
        monkeypatch.setattr(CoordinatorState, "take_back", lambda *_: None)
    with pytest.raises(Stopped):
        world.execute()
    monkeypatch.setattr(BentLink, "receive", real)
    run = restarted(world)
    assert run.outcomes[2].status == ("done" if taken_back else "aborted")


@pytest.mark.usefixtures("dead")
@pytest.mark.parametrize("apart", [True, False])
def test_a_killed_coordinator_loses_no_round_that_is_asked_once(
    world: World, monkeypatch: pytest.MonkeyPatch, apart: bool
) -> None:
    """It dies behind the life table's round, while the first model is worked out."""

    def dies(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patched:
        if not apart:
            patched.setattr(RoundEnds, "_begins_next", lambda self, number: number < LAST)
        patched.setattr("coordinator.study_run.begin_fit", dies)
        with pytest.raises(Stopped):
            world.execute()
    assert restarted(world).outcomes[1].status == ("done" if apart else "aborted")


def fails_behind_a_stored_round(world: World, monkeypatch: pytest.MonkeyPatch) -> bool:
    """A sum that the agreement does not allow ends the study: whether its receipt was announced all the same, before the end was."""

    def wrong(*_: object) -> None:
        raise ExchangeError("the sum is not what the agreement says")

    monkeypatch.setattr(CoordinatorState, "add_round", slow(CoordinatorState.add_round))
    monkeypatch.setattr("coordinator.study_run.mean_update", wrong)
    run, executed = world.execute()
    assert executed.failed is not None
    assert [stored.round for stored in run.state.rounds(run.study_hash)] == [1, 2]
    told = [kind for hospital, kind, _ in world.link.sent if hospital == "a"]
    return "receipt" in told[told.index("round_order", told.index("receipt")) : told.index("study_end")]


def test_a_study_that_fails_by_a_sum_announces_its_receipt_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fails_behind_a_stored_round(world, monkeypatch)


def interrupted_behind_round_2(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Ctrl-C while the strategy works and the thread stores; what one hospital was sent from round 2's order on."""

    def pressed(*_: object) -> None:
        raise Stopped

    with monkeypatch.context() as patched:
        patched.setattr(CoordinatorState, "add_round", slow(CoordinatorState.add_round))
        patched.setattr("coordinator.study_run.mean_update", pressed)
        with pytest.raises(Stopped):
            world.execute()
    told = [kind for hospital, kind, _ in world.link.sent if hospital == "a"]
    return told[told.index("round_order", told.index("receipt")) :]


@pytest.mark.parametrize("closed", [True, False])
def test_an_interrupted_coordinator_announces_what_it_stored_and_loses_no_round(
    world: World, monkeypatch: pytest.MonkeyPatch, closed: bool
) -> None:
    with monkeypatch.context() as patched:
        if not closed:
            patched.setattr(RoundEnds, "close", lambda self: self._writer.shutdown())
        told = interrupted_behind_round_2(world, monkeypatch)
    assert ("receipt" in told) == closed
    assert (world.progress[-1].event == "round_done") == closed
    assert restarted(world).outcomes[2].status == ("done" if closed else "aborted")


def test_a_disk_that_is_full_while_something_else_ends_the_run_is_said(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = CoordinatorState.add_round

    def full(self: CoordinatorState, study: bytes, stored: StoredRound, *, begins_next: bool = False) -> None:
        if stored.round == 2:
            raise DiskFault("the state", world.root, "No space left on device")
        real(self, study, stored, begins_next=begins_next)

    monkeypatch.setattr(CoordinatorState, "add_round", full)
    assert "receipt" not in interrupted_behind_round_2(world, monkeypatch)
    said = {progress.event: progress.text for progress in world.progress[-2:]}
    assert "make room" in said["not_stored"]
    assert "No space left on device" in said["round_aborted"]

"""A process that dies before any statement that writes, and a journal that comes back from a copy."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from hospital_node.anchor import Anchor
from secagg.states import Agreed, Uploaded
from tests.sim.record import kind_of
from tests.sim.scheduler import AdvanceTime, Crash, Deliver, Restart, ServerLies, Simulation
from tests.sim.test_invariants import until

# Statements that a hospital writes from its first session to the receipt of its first round, and one beyond.
WRITES = 99
# Of a hospital with short vectors: before and behind the record of the first sum, and the statements next to it.
AROUND_A_RECEIPT = range(52, 57)


def crash_at(root: Path, n: int, statement: int, rounds: int) -> Simulation:
    """A study in which the first hospital dies before that statement and comes back at once."""
    simulation = Simulation(n, root / str(statement), rounds)
    simulation.step(Crash(0, statement))
    for _ in range(400):
        if simulation.hospitals["h000"].node is None:
            simulation.step(Restart(0))
        simulation.step(Deliver(0))
    simulation.settle()
    simulation.record.check(simulation.hospitals, [e.message for e in simulation.sent])
    return simulation


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_crash_before_every_statement_of_a_round(tmp_path: Path) -> None:
    """All hospitals are needed, so that a sum shows that the one that died went on where it was."""
    sums = []
    for statement in range(1, WRITES + 1):
        simulation = crash_at(tmp_path, 3, statement, rounds=1)
        simulation.close()
        sums.append(len(simulation.server.finished))
    assert sums[-1] == 1
    # A round whose charge was written and whose upload was not is trained again under its reservation, or given up once spent.
    assert sums.count(0) <= 25


def test_crash_around_a_receipt_that_no_journal_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with short vectors, which lie in no file: the sum's record alone tells of the receipt, and two rounds are summed in the end."""
    monkeypatch.setattr("tests.sim.hospitals.VECTOR_FILE_BYTES", 1 << 20)
    for statement in AROUND_A_RECEIPT:
        simulation = crash_at(tmp_path, 3, statement, rounds=2)
        simulation.close()
        assert len(simulation.server.finished) == 2, statement


@pytest.mark.slow
def test_crash_before_every_statement_of_two_rounds(tmp_path: Path) -> None:
    for statement in range(1, 2 * WRITES):
        crash_at(tmp_path, 4, statement, rounds=2).close()


@pytest.fixture
def restored(tmp_path: Path) -> Iterator[tuple[Simulation, Path]]:
    """Four hospitals that uploaded; a copy of the first one's journal; then it signed a set of three."""
    simulation = Simulation(4, tmp_path / "study", rounds=1)
    until(simulation, "agree_request", 4)
    first = simulation.hospitals["h000"]
    copy = tmp_path / "copy.db"
    first.stop()
    shutil.copy(first.home / "journal.db", copy)
    first.start()
    simulation.server.asked.clear()
    simulation.server.greet("h000")
    simulation.step(Deliver(-1))
    assert first.node is not None
    assert isinstance(first.node.state, Uploaded)
    simulation.step(ServerLies(0, 0, 0b0111))
    simulation.step(Deliver(-1))
    assert isinstance(first.node.state, Agreed)
    first.stop()
    shutil.copy(copy, first.home / "journal.db")
    first.start()
    simulation.server.greet("h000")
    simulation.under_way = [e for e in simulation.under_way if kind_of(e.message) != "agreement"]
    simulation.under_way.insert(0, simulation.under_way.pop())
    yield simulation, copy
    simulation.close()


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_older_journal_refuses_the_round(restored: tuple[Simulation, Path]) -> None:
    simulation, _ = restored
    simulation.settle()
    simulation.record.check(simulation.hospitals, [e.message for e in simulation.sent])
    events = simulation.hospitals["h000"].events
    assert any(event.event == "journal_restored" for event in events)
    assert any("nothing of this hospital waits for an agreement" in event.text for event in events)
    assert ("h000", 1) not in simulation.record.opened


def test_older_journal_would_give_both_kinds_of_share(
    restored: tuple[Simulation, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    simulation, copy = restored
    monkeypatch.setattr(Anchor, "knows", lambda *_: True)
    first = simulation.hospitals["h000"]
    first.stop()
    shutil.copy(copy, first.home / "journal.db")
    first.start()
    with pytest.raises(AssertionError, match="both kinds"):
        simulation.settle()


def test_a_new_session_starts_above_every_round_that_the_copy_forgot(
    restored: tuple[Simulation, Path],
) -> None:
    simulation, _ = restored
    simulation.server.rounds = 3
    simulation.step(Crash(4))
    simulation.under_way.clear()
    simulation.step(AdvanceTime())
    simulation.settle()
    assert [done.round for done in simulation.server.finished] == [2, 3]

"""The adversarial scheduler and the crash tests over the sparse graph: real nodes of six hospitals with four neighbors each."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from hospital_node.journal import Journal
from hospital_node.participant import Participant
from secagg.graph import Graph
from secagg.sparse_table import GRAPHS_PER_HOSPITAL
from secagg.state_codec import decode_state
from secagg.states import Ready, Settled
from secagg.wire import codec
from secagg.wire.records import GraphSeed
from tests.sim.hospitals import sim_agreement
from tests.sim.record import Record, kind_of
from tests.sim.scheduler import AdvanceTime, Crash, Deliver, Operation, Restart, ServerLies, Simulation, run
from tests.sim.test_invariants import until
from tests.sim.test_scheduler import schedules, tier
from tests.unit.secagg.rounds import key_of, names

N = 6
SLOW_EXAMPLES = int(os.environ.get("SCHEDULES", "5000")) // 5
# Statements that a hospital writes from its first session to the receipt of its first round, and one beyond.
WRITES = 107
GRIND, SIGN_EARLY = 11, 13
COMMIT = Participant.commit


@pytest.fixture
def six(tmp_path: Path) -> Iterator[Simulation]:
    simulation = Simulation(N, tmp_path, rounds=1, sparse=True)
    yield simulation
    simulation.close()


def check(simulation: Simulation) -> None:
    simulation.record.check(simulation.hospitals, [e.message for e in simulation.sent])


def restart_first(simulation: Simulation) -> None:
    """kill -9, and a new process on the same files."""
    simulation.step(Crash(0))
    simulation.step(Restart(0))


@given(schedules(lies=14, parties=N - 1))
@tier(8)
def test_invariants_hold_over_the_sparse_graph(operations: list[Operation]) -> None:
    run(N, operations, rounds=1, sparse=True)


@pytest.mark.slow
@given(schedules(lies=14, parties=N - 1))
@tier(SLOW_EXAMPLES)
def test_invariants_hold_in_many_schedules_over_the_sparse_graph(operations: list[Operation]) -> None:
    run(N, operations, rounds=2, sparse=True)


@pytest.mark.slow
def test_crash_before_every_statement_of_a_round_over_the_sparse_graph(tmp_path: Path) -> None:
    sums = []
    for statement in range(1, WRITES + 1):
        simulation = Simulation(N, tmp_path / str(statement), rounds=1, sparse=True)
        simulation.step(Crash(0, statement))
        for _ in range(400):
            if simulation.hospitals["h000"].node is None:
                simulation.step(Restart(0))
            simulation.step(Deliver(0))
        simulation.settle()
        check(simulation)
        simulation.close()
        sums.append(len(simulation.server.finished))
    assert sums[-1] == 1
    # One hospital may be missing here, so that almost every schedule ends in a sum.
    assert sums.count(0) <= 5


def told(opened: dict[str, set[str]], revealed: dict[str, set[str]]) -> Record:
    """A round over a ring in the order of names, of which this was seen; the last hospital colludes."""
    record, everybody = Record(N, sparse=True), names(N)
    record.around[b"list"] = Graph(everybody, 4, frozenset(everybody))
    for name in everybody[:-1]:
        record.frames[name, 1] = (b"roster", b"list", b"order")
        record.headers[name, 1] = b""
        record.opened[name, 1] = opened.get(name, set())
        record.revealed[name, 1] = revealed.get(name, set())
    return record


def test_the_observer_knows_which_sums_are_solvable_over_a_ring() -> None:
    everybody = names(N)
    around = {name: {*everybody} - {name, everybody[(i + 3) % N]} for i, name in enumerate(everybody)}
    told(around, {})._check_sums()
    # Neighbors on both sides open h000 alone; as long as its masks stay, nothing follows.
    one = {name: {"h000"} for name in around["h000"]}
    told(one, {})._check_sums()
    with pytest.raises(AssertionError, match="a sum over too few"):
        told(one, {"h000": around["h000"]})._check_sums()
    # Two of three shares that are needed beside the colluding neighbor's.
    told({"h001": {"h000"}}, {"h000": around["h000"]})._check_sums()


def test_crash_at_every_write_of_a_contribution(tmp_path: Path) -> None:
    """It goes out once, the same bytes after the crash, and is counted whenever it does."""
    drawn = []
    for statement in (1, 4, 5, 8, 13):
        simulation = Simulation(N, tmp_path / str(statement), rounds=0, sparse=True)
        until(simulation, "key_list", N)
        simulation.step(Crash(0, statement))
        for _ in range(6 * N):
            if simulation.hospitals["h000"].node is None:
                simulation.step(Restart(0))
            simulation.step(Deliver(0))
        given = simulation.record.graphs["h000"]
        assert (len(given), [*given.values()]) == (1, [1])
        node = simulation.hospitals["h000"].node
        assert node is not None
        drawn.append(isinstance(node.state, Ready))
        check(simulation)
        simulation.close()
    assert all(drawn)


def on_disk(simulation: Simulation, file: str, query: str) -> list[tuple[object, ...]]:
    """What another process would read of the first hospital's files now."""
    with closing(sqlite3.connect(simulation.hospitals["h000"].home / file)) as database:
        return database.execute(query).fetchall()


def first_reply(simulation: Simulation) -> None:
    """The message at the front is given to the first hospital up to the moment at which its first reply leaves."""
    node = simulation.hospitals["h000"].node
    assert node is not None
    assert simulation.under_way[0].target == "h000"
    next(iter(node.on_message(simulation.under_way[0].message)))


def test_a_graph_is_counted_on_disk_before_the_contribution_leaves(six: Simulation) -> None:
    until(six, "key_list", N)
    first_reply(six)
    for file in ("journal.db", "journal.anchor"):
        assert on_disk(six, file, "SELECT graphs FROM graphs") == [(1,)]


def test_the_final_set_is_settled_on_disk_before_the_signature_leaves(six: Simulation) -> None:
    until(six, "sign_request", N)
    first_reply(six)
    [(state,)] = on_disk(six, "journal.db", "SELECT state FROM protocol")
    assert isinstance(state, bytes)
    assert isinstance(decode_state(state, key_of("h000")), Settled)


def test_another_graph_is_refused_in_a_session_that_has_one(six: Simulation) -> None:
    until(six, "round_order", N)
    node, seed = six.hospitals["h000"].node, six.server.keys[1]
    assert node is not None
    assert [*node.on_message(seed)] == []
    given = codec.unpack("graph_seed", GraphSeed, seed).contributions
    other = codec.pack("graph_seed", GraphSeed((*given[:-1], bytes(32))))
    assert [kind_of(reply) for reply in node.on_message(other)] == ["abort"]
    assert isinstance(node.state, Ready)


def test_one_signature_on_one_final_set_also_after_a_crash(six: Simulation) -> None:
    until(six, "sign_request", N)
    for statement in (2, 4, 6, 8):
        six.step(Crash(0, statement))
        six.step(Deliver(0))
        if six.hospitals["h000"].node is None:
            six.step(Restart(0))
    six.step(ServerLies(SIGN_EARLY, 0, 0b011111))
    six.settle()
    check(six)
    assert [done.members for done in six.server.finished] == [tuple(six.hospitals)]


def test_a_second_final_set_would_be_noticed(six: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Participant, "commit", forgetting_commit)
    until(six, "set_signature", N)
    six.step(ServerLies(SIGN_EARLY, 0, 0b011111))
    with pytest.raises(AssertionError, match="two final sets"):
        six.step(Deliver(0, 100))


def forgetting_commit(node: Any, state: Any, *rest: Any, **more: Any) -> None:
    """Every state but the settled one is kept."""
    if not isinstance(state, Settled):
        COMMIT(node, state, *rest, **more)


def grind(simulation: Simulation, times: int) -> list[int]:
    """The coordinator draws one graph after the other until it likes one; how many the first hospital had helped with after each."""
    counts = []
    for _ in range(times):
        simulation.step(ServerLies(GRIND, 0, 0))
        simulation.step(Deliver(0, 10 * N))
        restart_first(simulation)
        simulation.under_way.clear()
        counts.append(len(simulation.record.graphs.get("h000", {})))
    return counts


def test_a_coordinator_cannot_draw_until_it_likes_the_graph(six: Simulation) -> None:
    six.server.rounds = 0
    counts = grind(six, GRAPHS_PER_HOSPITAL + 2)
    assert counts[-1] == GRAPHS_PER_HOSPITAL
    refused = [event.text for event in six.hospitals["h000"].events if event.event == "refused"]
    assert any(f"helped to draw {GRAPHS_PER_HOSPITAL} graphs" in text for text in refused)
    check(six)


def test_without_the_count_it_would(six: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Journal, "graphs", lambda *_: 0)
    six.server.rounds = 0
    with pytest.raises(AssertionError, match="did not count"):
        grind(six, 1)


def test_a_restored_journal_does_not_give_the_graphs_back(six: Simulation) -> None:
    six.server.rounds = 0
    first = six.hospitals["h000"]
    study = sim_agreement(N, True).study.id
    grind(six, 1)
    first.stop()
    copy = six.root / "copy.db"
    shutil.copy(first.home / "journal.db", copy)
    first.start()
    six.server.greet("h000")
    assert grind(six, 2)[-1] == 3
    first.stop()
    shutil.copy(copy, first.home / "journal.db")
    first.start()
    assert first.node is not None
    assert first.node.journal.restored
    assert first.node.journal.graphs(study) == 3
    first.stop()
    # The journal knows them again, also where its anchor is lost next.
    for anchor in first.home.glob("journal.anchor*"):
        anchor.unlink()
    first.start()
    assert first.node is not None
    assert first.node.journal.graphs(study) == 3


def test_who_does_not_sign_stays_in_the_sum(six: Simulation) -> None:
    until(six, "sign_request", N)
    six.step(Crash(5))
    six.step(Deliver(0, 3 * N))
    six.step(AdvanceTime())
    six.settle()
    check(six)
    assert [done.members for done in six.server.finished] == [tuple(six.hospitals)]
    assert any(kind_of(e.message) == "set_signature" for e in six.sent)

"""A study's receipts together may be longer than the memory: a restart, the evidence and the assessment take one after the other."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from coordinator.outcome import Outcome
from coordinator.pia.build import build
from coordinator.progress import Progress
from coordinator.results import StudyRecord, write_study
from coordinator.state import CoordinatorState, StoredRound
from privacy.assessment.claims_result import results
from privacy.assessment.evidence import RECEIPTS, load
from privacy.assessment.pia_schema import Status
from privacy.assessment.recompute import recompute
from privacy.link.folder_files import FolderFiles
from secagg.receipt import without_sum
from secagg.wire import codec
from secagg.wire.records import Receipt, Signed
from tests.consortium import World, keys_and_roster, small_agreement

MIB = 1 << 20
ROUNDS = 8
LONG = 2 * MIB


@contextmanager
def at_most(most: int) -> Iterator[None]:
    """Memory that Python code takes meanwhile."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def held() -> int:
    """Outcomes of rounds in this process that have their sum in memory."""
    gc.collect()
    return sum(isinstance(found, Outcome) and found.total is not None for found in gc.get_objects())


def test_a_restarted_coordinator_holds_one_rounds_sum(tmp_path: Path) -> None:
    world = World.of(tmp_path, ("rounds = 2", "rounds = 1"))
    first = world.study_run(CoordinatorState(tmp_path / "long.db", 1))
    expected = first.run()
    first.state.close()
    for hospital in world.nodes:
        world.link.back(hospital, fresh=True)
    before, at_restart = held(), list[int]()

    def report(progress: Progress) -> None:
        if progress.event == "resumed":
            at_restart.append(held() - before)

    again = world.study_run(CoordinatorState(tmp_path / "long.db", 1))
    again.state.close_study(again.study_hash, "open", "")
    again.report = report
    finished = again.run()
    assert at_restart == [0]
    assert held() - before == 1
    assert finished.theta is not None
    assert expected.theta is not None
    assert finished.theta.tobytes() == expected.theta.tobytes()
    assert [o.receipt for o in finished.outcomes] == [o.receipt for o in expected.outcomes]


def test_the_state_gives_one_round_after_the_other(tmp_path: Path) -> None:
    state = CoordinatorState(tmp_path / "coordinator.db")
    state.open_study(bytes(32), "small", b"agreement", "2031-01-01T00:00:00Z")
    receipt = codec.pack("receipt", Receipt(Signed(b"body", bytes(64)), bytes(LONG // 4)))
    for number in range(1, ROUNDS + 1):
        state.add_round(bytes(32), StoredRound(number, b"{}", receipt, None))
    with at_most(LONG):
        assert [stored.round for stored in state.rounds(bytes(32))] == list(range(1, ROUNDS + 1))
    state.close()


def test_the_evidence_is_written_one_receipt_after_the_other(tmp_path: Path) -> None:
    record = StudyRecord(None, (), (), (), {}, "too few answered", {}, "in_process")
    rounds = (StoredRound(number, b"{}", bytes(LONG), None) for number in range(1, ROUNDS + 1))
    agreement, roster = small_agreement(), keys_and_roster()[1]
    with at_most(3 * LONG):
        write_study(tmp_path, agreement, roster, record, rounds)
    assert [(tmp_path / f"{RECEIPTS}{number}.bin").stat().st_size for number in range(1, ROUNDS + 1)] == [
        LONG
    ] * ROUNDS


def test_the_assessment_keeps_no_sum_and_reads_it_again(tmp_path: Path) -> None:
    world = World.of(tmp_path, ("rounds = 2", "rounds = 1"))
    run, executed = world.execute()
    out = tmp_path / "out"
    write_study(out, world.agreement, world.signed, executed.record, run.state.rounds(run.study_hash))
    build(out, identity=world.keys["coordinator"].identity_private)
    files = FolderFiles(out)
    facts = recompute(load(files))
    assert all(not item.problem and item.has_sum for item in facts.rounds)
    assert all(item.receipt is not None and not item.receipt.sum for item in facts.rounds)
    bare = load({**files, f"{RECEIPTS}2.bin": without_sum(files[f"{RECEIPTS}2.bin"])})
    (lacking,) = (item for item in recompute(bare).rounds if not item.has_sum)
    assert (lacking.record.round, lacking.problem) == (2, "")
    found = {claim.id: claim.status for claim in results(bare, recompute(bare))}
    assert found["E-MODEL"] is Status.GAP
    # Receipts that prove nothing are hashed and listed all the same.
    for number in range(101, 101 + ROUNDS):
        (out / f"{RECEIPTS}{number}.bin").write_bytes(bytes(LONG))
    with at_most(4 * LONG):
        built = build(out, identity=world.keys["coordinator"].identity_private)
    assert sum(file.path.startswith(f"{RECEIPTS}10") for file in built.document.evidence) == ROUNDS

"""A study's results are written before it is over: a disk that does not take them, or a process that ends there, costs none of them."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest

from coordinator.disk_faults import DiskFault, disk_faults
from coordinator.join import StudyFailed
from coordinator.results import RESULT_FILE, StudyRecord, check_out, write_result, write_study
from coordinator.service import Executed, StudyOver, agreement_for, execute
from coordinator.state import CoordinatorState
from privacy.assessment.evidence import MODEL, RESULT
from privacy.studies.exchange import total_rounds
from tests.consortium import HOSPITALS, World
from tests.small_disks import PAGE, fill, small_disk


@pytest.fixture
def out(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "out", 1 << 20) as folder:
        yield folder


def run_to(world: World, out: Path, there: Collection[str] = HOSPITALS) -> Executed:
    """What the command does with a link of its own, as another process over the same state."""
    for hospital in HOSPITALS:
        if hospital in there:
            world.link.back(hospital, fresh=True)
        else:
            world.link.cut(hospital)
    run = world.study_run()
    agreement_for(world.study, run.state)

    def write(record: StudyRecord) -> None:
        with disk_faults("the results of a study", out):
            write_study(out, world.agreement, world.signed, record, run.state.rounds(run.study_hash))

    try:
        return execute(run, {}, "in_process", write)
    finally:
        run.state.close()


@pytest.mark.parametrize("hospitals", ["all", "started anew", "some", "none"])
def test_results_that_find_no_room_are_written_by_the_same_command(
    tmp_path: Path, out: Path, hospitals: str
) -> None:
    world = World.of(tmp_path)
    fill(out, 2)
    with pytest.raises(
        DiskFault, match=r"results of a study cannot be kept .*No space left.* same command again"
    ):
        run_to(world, out)
    sent = [kind for _, kind, _ in world.link.sent]
    assert "study_end" not in sent
    assert sent.count("ledger_export_request") == len(HOSPITALS)
    ledgers = {h: world.ledger(h) for h in HOSPITALS}
    (out / "filler").unlink()
    check_out(out, world.study.id)
    world.link.sent.clear()
    there = {"all": HOSPITALS, "started anew": HOSPITALS, "some": HOSPITALS[:1], "none": ()}[hospitals]
    if hospitals == "started anew":
        for hospital in HOSPITALS:
            world.restart(hospital)
    executed = run_to(world, out, there)
    assert executed.failed is None
    assert executed.record.theta is not None
    assert [o.status for o in executed.record.outcomes] == ["done"] * total_rounds(world.agreement)
    assert {h: world.ledger(h) for h in HOSPITALS} == ledgers
    written = json.loads((out / RESULT_FILE).read_bytes())
    assert (written["status"], written["cohort"]["missing"]) == ("done", [])
    assert sorted(executed.record.ledgers) == list(there)
    assert "round_order" not in [kind for _, kind, _ in world.link.sent]
    with pytest.raises(StudyOver, match=r"ended before \(done\)"):
        run_to(world, out)


def test_a_failed_study_whose_evidence_finds_no_room_is_open_too(tmp_path: Path) -> None:
    world = World.of(tmp_path)
    for hospital in HOSPITALS[:2]:
        world.link.cut(hospital)
    run = world.study_run()

    def write(record: StudyRecord) -> None:
        raise DiskFault("the results of a study", tmp_path, record.reason)

    with pytest.raises(DiskFault, match="2 hospitals at step advertise") as caught:
        execute(run, {}, "in_process", write)
    assert isinstance(caught.value.__context__, StudyFailed)
    run.state.close()
    state = CoordinatorState(tmp_path / "coordinator.db")
    assert [status for _, _, status, _ in state.studies()] == ["open"]
    state.close()


def test_half_a_result_is_none(out: Path) -> None:
    """Or `run` would take the folder for another study's at its next start."""
    result = {"study": "small", "text": "x" * 3 * PAGE}
    (out / "evidence").mkdir()
    fill(out, 5)
    with pytest.raises(OSError, match="No space left"):
        write_result(out, result)
    assert (out / RESULT).stat().st_size > 3 * PAGE
    check_out(out, "small")


def test_results_are_on_the_disk_before_the_study_is_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its rounds cannot be run again, so a loss of power must not take them."""
    world, out, synced, real = World.of(tmp_path), tmp_path / "out", set[int](), os.fsync
    monkeypatch.setattr(os, "fsync", lambda handle: (real(handle), synced.add(os.fstat(handle).st_ino)))
    over = CoordinatorState.close_study

    def closes(state: CoordinatorState, *how: object) -> None:
        written = [*(out / "evidence").rglob("*"), out / "evidence", out / MODEL, out / RESULT_FILE, out]
        assert len(written) > len(HOSPITALS) + total_rounds(world.agreement)
        assert {path.stat().st_ino for path in written} <= synced
        over(state, *how)

    monkeypatch.setattr(CoordinatorState, "close_study", closes)
    assert run_to(world, out).failed is None

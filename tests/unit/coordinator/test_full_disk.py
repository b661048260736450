"""A full disk of the coordinator's: the round is aborted, everybody is told, the study goes on once there is room. Real file systems, really full."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from coordinator.disk_faults import DiskFault
from coordinator.spool import Spool, check_room
from coordinator.state import CoordinatorState, StoredRound
from coordinator.study_run import StudyRun
from privacy.link.command_line import exit_code_of
from secagg.wire import codec
from secagg.wire.records import Abort
from tests.consortium import HOSPITALS, World
from tests.small_disks import PAGE, fill, small_disk

FULL = "No space left on device"
VECTOR = bytes(2 * PAGE)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 128 * PAGE) as folder:
        yield folder


def test_what_the_disk_refuses_is_one_sentence_with_the_remedy(tmp_path: Path) -> None:
    """By the kernel's limit on the length of a file, which needs no root."""
    spool = Spool(tmp_path / "spool", len(VECTOR), 0)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PAGE, before[1]))
    try:
        with pytest.raises(DiskFault) as caught:
            spool.add("a", 0, VECTOR)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == (
        f"the vectors of a round cannot be kept in {tmp_path / 'spool'} (File too large); make room or mend the disk there and start "
        "the same command again: the study is open and goes on behind its last stored round"
    )
    assert caught.value.reason == "the coordinator's disk failed: File too large"
    assert exit_code_of(caught.value) == 2


def test_a_vector_whose_file_is_gone_is_a_fault_of_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "spool", len(VECTOR), 0)
    spool.add("a", 0, VECTOR)
    (tmp_path / "spool" / "a.bin").unlink()
    with pytest.raises(DiskFault, match="No such file"):
        spool.read_into("a", 0, memoryview(bytearray(10)))


def test_room_for_a_rounds_vectors_is_looked_for_before_its_order(disk: Path) -> None:
    fill(disk, 4)
    check_room(disk / "not" / "yet", len(VECTOR), 2, 0)
    check_room(disk, len(VECTOR), 3, len(VECTOR))
    with pytest.raises(DiskFault, match="MiB are needed"):
        check_room(disk / "not" / "yet", len(VECTOR), 3, 0)


def run_on(world: World, disk: Path, state: CoordinatorState | None = None) -> StudyRun:
    run = world.study_run(state)
    run.spool_directory = disk / "spool"
    return run


def start_again(world: World, disk: Path, state: CoordinatorState | None = None) -> StudyRun:
    """Another process of the coordinator, to which the hospitals come."""
    for hospital in HOSPITALS:
        world.link.back(hospital, fresh=True)
    return run_on(world, disk, state)


def test_a_full_disk_costs_the_round_and_nothing_else(
    tmp_path: Path, disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coordinator.rounds.Spool", partial(Spool, memory_bytes=0))
    monkeypatch.setattr("coordinator.study_run.check_room", partial(check_room, memory_bytes=0))
    world = World.of(tmp_path)
    for node in world.nodes.values():
        world.with_policy(node, aborted_rounds_maximum=3)
    plain = world.link.up

    def fills(hospital: str, kind: str, message: bytes) -> tuple[bytes, ...]:
        if (hospital, kind) == ("a", "vector_chunk") and run.outcomes:
            fill(disk, 2)
        return (message,)

    world.link.up = fills
    run = run_on(world, disk)
    with pytest.raises(DiskFault, match=FULL):
        run.run()
    done, aborted = run.outcomes
    assert (done.status, aborted.status) == ("done", "aborted")
    assert (aborted.reason, aborted.culprit) == (f"the coordinator's disk failed: {FULL}", "")
    told = [codec.unpack(k, Abort, m) for _, k, m in world.link.sent if k == "abort"]
    assert [abort.reason for abort in told] == [aborted.reason] * len(HOSPITALS)
    assert not (disk / "spool").exists()
    kept = list(run.state.rounds(run.study_hash))
    assert [stored.receipt is not None for stored in kept] == [True, False]
    ledgers = {h: world.ledger(h) for h in HOSPITALS}
    run.state.close()
    world.link.up = plain
    # The same command before there is room orders nothing.
    fill(disk)
    with pytest.raises(DiskFault, match="MiB are needed"):
        start_again(world, disk).run()
    assert {h: world.ledger(h) for h in HOSPITALS} == ledgers
    (disk / "filler").unlink()
    again = start_again(world, disk)
    assert again.state.begun(again.study_hash) == (1, 2)
    finished = again.run()
    assert [outcome.status for outcome in finished.outcomes] == ["done", "aborted", "done"]
    assert finished.outcomes[0].receipt == done.receipt
    assert {h: world.ledger(h)[: len(ledgers[h])] for h in HOSPITALS} == ledgers


def test_a_sum_that_cannot_be_stored_is_published_by_nobody(tmp_path: Path, disk: Path) -> None:
    world = World.of(tmp_path)
    for node in world.nodes.values():
        world.with_policy(node, aborted_rounds_maximum=3)
    run = run_on(world, disk, CoordinatorState(disk / "coordinator.db"))

    def fills(hospital: str, kind: str, message: bytes) -> tuple[bytes, ...]:
        if kind == "shares" and run.outcomes:
            fill(disk)
        return (message,)

    plain, world.link.up = world.link.up, fills
    with pytest.raises(DiskFault, match="the state of a study cannot be kept"):
        run.run()
    told = [codec.unpack(k, Abort, m) for _, k, m in world.link.sent if k == "abort"]
    assert [(abort.round, "disk failed" in abort.reason) for abort in told] == [(2, True)] * len(HOSPITALS)
    assert [m for _, k, m in world.link.sent if k == "receipt"] == [run.outcomes[0].receipt] * len(HOSPITALS)
    run.state.close()
    (disk / "filler").unlink()
    world.link.up = plain
    again = start_again(world, disk, CoordinatorState(disk / "coordinator.db"))
    finished = again.run()
    assert [outcome.status for outcome in finished.outcomes] == ["done", "aborted", "done"]
    assert "restarted while the round was under way" in finished.outcomes[1].reason
    again.state.close()


def test_a_round_that_cannot_be_stored_is_none_and_can_be_stored_later(disk: Path) -> None:
    state = CoordinatorState(disk / "state" / "coordinator.db")
    state.open_study(bytes(32), "small", b"agreement", "2031-01-01T00:00:00Z")
    first, second = StoredRound(1, b"{}", None, None), StoredRound(2, bytes(8 * PAGE), None, None)
    state.add_round(bytes(32), first)
    filler = fill(disk)
    with pytest.raises(DiskFault, match="the state of a study cannot be kept"):
        state.add_round(bytes(32), second)
    with pytest.raises(DiskFault):
        state.add_round(bytes(32), second)
    assert list(state.rounds(bytes(32))) == [first]
    filler.unlink()
    state.add_round(bytes(32), second)
    state.close()
    again = CoordinatorState(disk / "state" / "coordinator.db")
    assert list(again.rounds(bytes(32))) == [first, second]
    again.close()

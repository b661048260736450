"""Whoever is shown to have made a round fail is left out of the next one, by name, also by a restarted coordinator."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from coordinator.gather import Silence
from coordinator.results import write_study
from coordinator.rounds import RoundAborted, _at_fault
from coordinator.state import CoordinatorState
from coordinator.study_run import StudyRun
from tests.consortium import HOSPITALS, World
from tests.sim.test_hostile_coordinator import OtherOrder

# Hospitals cannot recompute the models of this strategy, so that d takes what it is told; four training rounds.
ADAPTIVE = (("rounds = 2", "rounds = 4\nstrategy = 'fedadam'"),)
BROKEN = 3


class Stopped(BaseException):
    """The coordinator's process ends here."""


def patient(root: Path) -> World:
    """Hospitals whose policies bear with an aborted round."""
    world = World.of(root, *ADAPTIVE)
    for node in world.nodes.values():
        world.with_policy(node, aborted_rounds_maximum=3)
    return world


def misled(root: Path) -> World:
    """A study in which d signs another order of round 3 than everybody else."""
    world = patient(root)
    world.link.down = OtherOrder(world, "d", BROKEN, "model")
    return world


def asked(world: World, number: int) -> set[str]:
    """Who was sent an order of a round, by what its ledger was charged for."""
    return {h for h in HOSPITALS if ("RESERVE", number) in world.ledger(h)}


def check(world: World, run: StudyRun) -> None:
    broken, after, last = run.outcomes[BROKEN - 1 :]
    assert broken.status == "aborted"
    assert broken.reason.startswith("d signed another round order")
    assert (after.status, after.answered) == ("done", ("a", "b", "c"))
    [missing] = after.missing
    assert (missing.hospital, missing.step) == ("d", "upload")
    assert missing.reason.startswith(f"it is left out, since round {BROKEN} failed by it: d signed another")
    assert asked(world, BROKEN + 1) == {"a", "b", "c"}
    # One round it is: it may have been the coordinator's fault, or an error that is over.
    assert (last.answered, last.missing) == (HOSPITALS, ())


def test_a_culprit_is_left_out_of_the_next_round_and_named(tmp_path: Path) -> None:
    world = misled(tmp_path)
    run, executed = world.execute()
    assert executed.failed is None
    check(world, run)
    result = write_study(
        tmp_path / "out", world.agreement, world.signed, executed.record, run.state.rounds(run.study_hash)
    )
    [missing] = result["cohort"]["missing"]
    assert (missing["hospital"], missing["round"]) == ("d", BROKEN + 1)
    assert "left out" in missing["reason"]


def test_a_restarted_coordinator_leaves_it_out_too(tmp_path: Path) -> None:
    world = misled(tmp_path)
    misleading = world.link.down

    def stops(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if kind == "abort":
            raise Stopped
        return misleading(hospital, kind, message)

    world.link.down = stops
    with pytest.raises(Stopped):
        world.execute()
    for node in world.nodes.values():
        node.journal.close()
    restarted = patient(tmp_path)
    run, executed = restarted.execute()
    assert executed.failed is None
    check(restarted, run)
    # Whom the round was blamed on is known as it was before the restart.
    assert run.outcomes[BROKEN - 1].culprit == "d"


def test_without_the_record_it_is_asked_again_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(CoordinatorState, "culprits", lambda *_: {})
    world = misled(tmp_path)
    run, _ = world.execute()
    assert run.outcomes[BROKEN].answered == HOSPITALS


def test_only_ones_own_messages_count_never_the_word_of_others() -> None:
    """A hospital that accuses another must not be able to keep it out."""
    silent = {
        "a": Silence("a", "agree", "abort", "the share dealt by b does not match", "b"),
        "b": Silence("b", "agree", "blamed", "a says: the share does not match", "a"),
        "c": Silence("c", "upload", "refused", "c: the vector is not the one that its header signs", "c"),
        "d": Silence("d", "upload", "lost", "it is not connected"),
    }
    assert _at_fault(silent, RoundAborted("too few", "b")) == {"c": silent["c"].reason}
    shown = RoundAborted("the committed shares do not reconstruct", "b", shown=True)
    assert _at_fault(silent, shown) == {"c": silent["c"].reason, "b": shown.reason}
    assert _at_fault({}, replace_culprit(shown)) == {}


def replace_culprit(abort: RoundAborted) -> RoundAborted:
    """The same, where nobody can be named."""
    return RoundAborted(abort.reason, "", shown=True)

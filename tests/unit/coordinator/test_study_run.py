"""Whole studies: who joins, how they fail, what they leave."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.held_arrays import record_of
from coordinator.results import write_study
from coordinator.service import Executed
from coordinator.state import CoordinatorState
from coordinator.study_run import StudyRun
from hospital_node.admission import Admission
from privacy.assessment.evidence import AGREEMENT, LEDGERS, RECEIPTS, ROSTER, ROUNDS
from privacy.ledgers.ledger_export import read_export
from secagg.receipt import audit_receipt, without_sum
from secagg.wire import codec
from secagg.wire.records import LedgerExport, Receipt, StudyAnswer, StudyEnd
from tests.consortium import HOSPITALS, Hand, World

ONE_ROUND = (("rounds = 2", "rounds = 1"),)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World.of(tmp_path, *ONE_ROUND)


def written(world: World, run: StudyRun, executed: Executed) -> tuple[Path, dict[str, Any]]:
    out = world.root / "out"
    result = write_study(
        out, world.agreement, world.signed, executed.record, run.state.rounds(run.study_hash)
    )
    assert json.loads((out / "result.json").read_text()) == result
    assert (out / "result.json").read_bytes() == (out / "evidence" / "result.json").read_bytes()
    return out, result


def test_a_study_leaves_result_model_and_evidence(world: World) -> None:
    run, executed = world.execute()
    out, result = written(world, run, executed)
    assert (result["status"], result["reason"], result["rounds"]) == ("done", "", 2)
    assert result["cohort"] == {"answered": list(HOSPITALS), "missing": []}
    assert (out / AGREEMENT).read_bytes() == world.agreement.to_bytes()
    assert (out / ROSTER).read_bytes() == world.signed.canonical
    records = [json.loads(line) for line in (out / ROUNDS).read_text().splitlines()]
    assert [(r["round"], r["task"], r["status"]) for r in records] == [
        (1, "life_table", "done"),
        (2, "train", "done"),
    ]
    for hospital in HOSPITALS:
        entries = read_export(
            (out / LEDGERS / f"{hospital}.jsonl").read_bytes(), world.keys[hospital].identity_public
        )
        assert [e.record.kind for e in entries] == [*["RESERVE", "SPENT"] * 2, "CLOSE"]
    for number in (1, 2):
        data = (out / RECEIPTS / f"{number}.bin").read_bytes()
        verified = audit_receipt(data, run.study_hash, world.signed.roster, Hand(world).params)
        assert sorted(verified.members) == list(HOSPITALS)
        assert codec.unpack("receipt", Receipt, data).sum, "whoever verifies folds the sums again"
    assert {c["name"] for c in result["coefficients"]} == set(world.agreement.columns)
    assert all(c["se"] is None and c["reason"] for c in result["coefficients"])


def test_epsilon_per_hospital_is_what_its_signed_ledger_shows(world: World) -> None:
    world.link.up = lambda h, k, m: (
        () if (h, k) == ("d", "upload_header") and len(world.ledger("d")) > 2 else (m,)
    )
    run, executed = world.execute()
    _, result = written(world, run, executed)
    per_hospital = result["per_hospital"]
    assert isinstance(per_hospital, dict)
    assert per_hospital["a"]["epsilon"] <= 3.0
    assert per_hospital["a"]["rounds_spent"] == 2
    assert result["guarantee"]["epsilon"] == max(b["epsilon"] for b in per_hospital.values())
    assert [m["hospital"] for m in result["cohort"]["missing"]] == ["d"]
    assert (result["cohort"]["missing"][0]["round"], result["cohort"]["missing"][0]["step"]) == (2, "upload")


def test_too_few_survivors_leave_the_result_of_a_failed_study(world: World) -> None:
    world.link.up = lambda h, k, m: () if h in "cd" and k == "agreement" else (m,)
    run, executed = world.execute()
    assert executed.failed is not None
    assert executed.failed.exit_code == 3
    out, result = written(world, run, executed)
    assert (result["status"], result["coefficients"]) == ("failed", [])
    assert "2 hospitals at step agree, the threshold is 3" in str(result["reason"])
    assert [m["hospital"] for m in result["cohort"]["missing"]] == ["c", "d"]
    assert not (out / "model.json").exists()
    assert not list((out / RECEIPTS).iterdir())
    assert json.loads((out / ROUNDS).read_text())["status"] == "aborted"
    # What was uploaded stays charged, and the ledgers say so.
    assert result["per_hospital"]["a"]["epsilon"] > 0
    assert run.state.studies()[0][2:] == ("failed", str(executed.failed))
    assert [m for h, k, m in world.link.sent if (h, k) == ("a", "study_end")] == [
        codec.pack("study_end", StudyEnd("failed", str(executed.failed)[:500]))
    ]
    assert world.nodes["a"].ended is not None
    assert world.nodes["a"].ended.exit_code == 3


@pytest.mark.parametrize("export", [b"", b"garbage\n", b"\xff" * 50])
def test_a_hospital_with_a_broken_ledger_is_named_and_costs_nobody_the_result(
    world: World, export: bytes
) -> None:
    bad = codec.pack("ledger_export", LedgerExport(export))
    world.link.up = lambda h, k, m: (bad,) if (h, k) == ("b", "ledger_export") else (m,)
    run, executed = world.execute()
    _, result = written(world, run, executed)
    assert result["status"] == "done"
    assert result["per_hospital"]["b"]["epsilon"] is None
    assert "its ledger does not verify" in result["per_hospital"]["b"]["reason"]


def test_a_ledger_of_another_hospital_does_not_verify(world: World) -> None:
    held: dict[str, bytes] = {}

    def up(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if kind == "ledger_export":
            held.setdefault("a", message)
            return (held["a"],)
        return (message,)

    world.link.up = up
    run, executed = world.execute()
    _, result = written(world, run, executed)
    assert result["per_hospital"]["a"]["epsilon"] > 0
    assert result["per_hospital"]["b"]["epsilon"] is None


def test_who_refuses_the_study_is_named_and_the_reason_stays_at_the_hospital(world: World) -> None:
    world.with_policy(world.nodes["c"], families=("mlp",))
    run, executed = world.execute()
    _, result = written(world, run, executed)
    assert run.accepted == {"a", "b", "d"}
    (missing,) = result["cohort"]["missing"]
    assert (missing["hospital"], missing["round"], missing["step"]) == ("c", 0, "study")
    assert missing["reason"] == Admission.TOLD
    assert world.ledger("c") == []


def test_too_few_acceptances_end_the_study_with_every_reason(world: World) -> None:
    for hospital in "cd":
        world.with_policy(world.nodes[hospital], families=("mlp",))
    run, executed = world.execute()
    assert executed.failed is not None
    assert str(executed.failed).startswith("2 of 4 hospitals accepted, the study needs 3 (c: ")
    assert run.outcomes == []
    assert all(world.ledger(h) == [] for h in HOSPITALS)


def test_an_answer_about_another_study_does_not_count(world: World) -> None:
    other = codec.pack("study_answer", StudyAnswer(bytes(32), True, "", 0))
    world.link.up = lambda h, k, m: (other,) if (h, k) == ("b", "study_answer") else (m,)
    run, executed = world.execute()
    assert run.accepted == {"a", "c", "d"}
    assert executed.record.refused[0].kind == "deadline"


def test_a_round_without_a_quorum_is_not_begun_and_costs_nothing(world: World) -> None:
    def down(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
        if kind == "receipt":
            for gone in "cd":
                if gone in world.link.connected():
                    world.link.cut(gone)
        return (message,)

    world.link.down = down
    run, executed = world.execute()
    assert executed.failed is not None
    assert "round 2 was not begun: 2 hospitals are connected, 3 must answer; missing: c, d" in str(
        executed.failed
    )
    assert len(run.outcomes) == 1
    # Whoever was asked for its ledger at the end is done with the study.
    assert all(world.ledger(h)[:2] == [("RESERVE", 1), ("SPENT", 1)] for h in HOSPITALS)
    assert [world.ledger(h)[2:] for h in HOSPITALS] == [[("CLOSE", 0)]] * 2 + [[]] * 2


def test_a_study_that_declares_four_answers_fails_with_three(tmp_path: Path) -> None:
    world = World.of(tmp_path, *ONE_ROUND, ("deadline_s = 20.0", "deadline_s = 20.0\nminimum_answers = 4"))
    world.link.up = lambda h, k, m: () if (h, k) == ("d", "agreement") else (m,)
    run, executed = world.execute()
    assert executed.failed is not None
    assert "had fewer than the 4 answers that the study declares" in str(executed.failed)
    assert run.outcomes[0].answered == ("a", "b", "c")


def test_in_mode_none_there_is_no_guarantee_and_the_ledger_notes_it(tmp_path: Path) -> None:
    world = World.of(
        tmp_path,
        *ONE_ROUND,
        ('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"'),
        ("\nsample_rate = 1.0", ""),
    )
    run, executed = world.execute()
    _, result = written(world, run, executed)
    assert result["guarantee"]["kind"] == "none"
    assert "epsilon" not in result["guarantee"]
    # Each round, the set that was agreed to, and the end.
    assert [n for _, n in world.ledger("a")] == [1, 0, 2, 0, 0]
    assert world.ledger("a")[-1] == ("CLOSE", 0)
    for outcome in run.outcomes:
        np.testing.assert_array_equal(outcome.total, world.recorded(outcome.round, HOSPITALS))


def test_a_second_run_over_finished_rounds_repeats_the_model_and_asks_nobody(world: World) -> None:
    """What a restarted coordinator does: the stored sums alone rebuild the strategy's state."""
    first, executed = world.execute()
    first.state.close()
    ledgers = {h: world.ledger(h) for h in HOSPITALS}
    for hospital in HOSPITALS:
        world.link.back(hospital, fresh=True)
    second = world.study_run()
    second.state.close_study(second.study_hash, "open", "")
    finished = second.run()
    np.testing.assert_array_equal(finished.theta, executed.record.theta)
    assert {h: world.ledger(h) for h in HOSPITALS} == ledgers
    assert [o.receipt for o in finished.outcomes] == [o.receipt for o in first.outcomes]


def test_long_sums_and_receipts_of_earlier_rounds_are_in_the_state_only(world: World) -> None:
    """In memory a study of a thousand rounds at 10^6 coordinates would come to hold 16 GB; what it says is the same."""
    run = world.study_run()
    run.state.close()
    run.state = run.ends.state = CoordinatorState(world.root / "long.db", 1)
    finished = run.run()
    *earlier, last = run.outcomes
    stored = list(run.state.rounds(run.study_hash))
    assert len(earlier) == len(stored) - 1 >= 1
    for outcome, kept in zip(earlier, stored, strict=False):
        assert outcome.status == "done"
        assert outcome.total is None
        assert outcome.receipt == without_sum(kept.receipt or b"")
        np.testing.assert_array_equal(
            np.frombuffer(kept.total or b"", dtype="<i8"), world.recorded(outcome.round, HOSPITALS)
        )
    assert last.receipt == stored[-1].receipt
    np.testing.assert_array_equal(last.total, world.recorded(last.round, HOSPITALS))
    assert finished.theta is not None


@pytest.mark.parametrize("last", [1, 2, 3, 5])
def test_only_the_models_that_the_average_is_of_are_kept(tmp_path: Path, last: int) -> None:
    """The start is none of them, values beyond the box are held in it."""
    world = World.of(tmp_path, ("rounds = 2", "rounds = 4"))
    run = world.study_run()
    training = run.agreement.training.model_copy(update={"average_last": last})
    run.agreement = replace(run.agreement, training=training)
    models = [np.full(3, 10.0 * number) for number in range(5)]
    for number, model in enumerate(models):
        run._keep(number, record_of(model))
    due = [np.minimum(model, training.parameter_clip) for model in models[1:][-last:]]
    np.testing.assert_array_equal(run.models, due)
    assert any(model[0] > training.parameter_clip for model in models)


def test_phases_are_timed(world: World) -> None:
    run, executed = world.execute()
    assert {"join", "life_table", "train", "rounds"} <= set(executed.record.seconds)
    assert replace(executed.record).transport == "in_process"
    assert run.phase_seconds()["join"] >= 0

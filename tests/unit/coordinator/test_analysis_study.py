"""Analytics through real nodes and real secure aggregation: in every mode, beside a model and without one."""

from pathlib import Path

import numpy as np
import pytest

from coordinator.results import result_json
from hospital_node.analytics.rows import Asked
from hospital_node.cohort import Cohort
from privacy.analytics.asks import MOMENTS, RISK_TABLE
from privacy.analytics.report import NOT_ANSWERED, release_names
from privacy.guarantees.accounting import spent
from privacy.ledgers.charges import charged
from privacy.studies import exchange, next_model
from secagg.fixed_point import from_ring
from tests.consortium import HOSPITALS, Hand, RememberingAdmission, World, small_agreement
from tests.unit.hospital_node.rounds import refusal

MODEL = 'family = "piecewise_exponential"\nrounds = 2\nlocal_steps = 2\nsample_rate = 1.0'
ASKS = """
[analysis]
kaplan_meier_by = ["arm"]
log_rank = true
minimum_cell = 3
metrics = ["c_index", "ibs", "calibration"]
[[analysis.query]]
kind = "mean"
field = "age"
where = {smoker = true}
[[analysis.query]]
kind = "count"
by = ["smoker"]
"""
ALONE = (f"[model]\n{MODEL}", f'[model]\nfamily = "none"\n{ASKS}')
NONE = ('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"')
DISTRIBUTED = ('mode = "local"', 'mode = "distributed"')
PAID = ("delta = 1e-5", "delta = 1e-5\nevaluation_share = 0.3")
BESIDE_NEWTON = (DISTRIBUTED, PAID, (MODEL, f'family = "piecewise_exponential"\nrounds = 1\n{ASKS}'))
BESIDE_DP_SGD = (PAID, (MODEL, f"{MODEL.replace('= 2', '= 1')}\n{ASKS}"))
TASKS = ["survival-1", "mean-1", "count-2"]


@pytest.mark.parametrize(
    ("changes", "fit", "evaluates"),
    [
        pytest.param((ALONE,), [], False, marks=pytest.mark.slow),
        pytest.param((ALONE, DISTRIBUTED), [], False, marks=pytest.mark.slow),
        (BESIDE_NEWTON, ["life_table", "hessian", "newton"], True),
        pytest.param(BESIDE_DP_SGD, ["life_table", "train"], True, marks=pytest.mark.slow),
    ],
    ids=["local alone", "distributed alone", "beside newton", "beside dp_sgd"],
)
def test_every_answer_is_one_event_of_the_plan(
    tmp_path: Path, changes: tuple[tuple[str, str], ...], fit: list[str], *, evaluates: bool
) -> None:
    world = World.of(tmp_path, *changes)
    run, executed = world.execute()
    assert executed.failed is None, executed.failed
    tasks = [*fit, *TASKS, *([MOMENTS, RISK_TABLE] if evaluates else [])]
    assert [exchange.task_of(world.agreement, o.round) for o in run.outcomes] == tasks
    assert all(world.refusals(hospital) == [] for hospital in HOSPITALS)
    result = result_json(world.agreement, world.signed, executed.record)
    assert result["status"] == "done"
    assert result["guarantee"]["epsilon"] <= 3
    section = result["analysis"]
    assert release_names(section) == {*TASKS, *([MOMENTS, RISK_TABLE] if evaluates else [])}
    plan = world.agreement.plan
    assert plan is not None
    for hospital in HOSPITALS:
        releases = charged(world.nodes[hospital].ledger.entries())
        assert {release.name for release in releases} == set(tasks)
        assert spent(releases, plan.delta).number() == pytest.approx(
            spent(plan.releases, plan.delta).number()
        )
    for answer in section["results"]:
        assert answer["noise_sd"] == pytest.approx(plan.release(answer["name"]).expected_sd(4))
    if evaluates:
        assert set(section["results"][-1]) >= {"c_index", "brier", "calibration"}


def test_mode_none_is_exact_says_so_and_leaves_small_counts_out(tmp_path: Path) -> None:
    world = World.of(tmp_path, NONE, ALONE, rows=40)
    run, executed = world.execute()
    assert executed.failed is None, executed.failed
    result = result_json(world.agreement, world.signed, executed.record)
    section = result["analysis"]
    assert result["guarantee"]["kind"] == "none"
    assert section["note"].startswith("no formal guarantee")
    survival, mean, count = section["results"]
    tables = [world.nodes[h].admission for h in HOSPITALS]
    ages, smokers = [], 0
    for admission in tables:
        key = (admission.me, world.agreement.hash, admission.data.read_bytes())
        local, _ = RememberingAdmission.read[key]
        smoking = local.cells["smoker"] == 1
        ages += local.cells["age"][smoking].tolist()
        smokers += int(smoking.sum())
    assert [group["count"] for group in count["groups"]] == [160 - smokers, smokers]
    assert mean["groups"][0]["mean"] == pytest.approx(np.mean(ages), abs=1e-6)
    assert sum(group["patients"] for group in survival["groups"]) == 160
    # A table of 40 patients a hospital has intervals with one or two events: those points are not told.
    points = [value for group in survival["groups"] for value in group["survival"]]
    assert None in points
    assert run.outcomes[0].answered == HOSPITALS


def test_a_hospital_refuses_to_evaluate_a_model_that_was_not_trained_and_bins_that_were_not_released(
    tmp_path: Path,
) -> None:
    hand = Hand(World.of(tmp_path, *BESIDE_NEWTON)).join()
    agreement, fit, model = hand.world.agreement, None, b""
    for number in range(1, 7):
        total, receipt, members = hand.round(number, model)
        for hospital in HOSPITALS:
            assert hand.ask(hospital, receipt) == []
        fit = next_model.followed(agreement, fit, number, from_ring(total, 64), sorted(members))
        assert fit is not None
        model = (
            exchange.model_bytes(fit.ordered(exchange.task_of(agreement, number + 1))) if number < 3 else b""
        )
    assert exchange.task_of(agreement, 7) == MOMENTS
    _, wrong = hand.order(7, model=exchange.model_bytes(fit.result + 0.01))
    assert "does not follow from the signed sum" in refusal(hand.ask("b", wrong)).reason
    total, receipt, members = hand.round(7, exchange.model_bytes(fit.result))
    for hospital in HOSPITALS:
        assert hand.ask(hospital, receipt) == []
    # The trained model itself would place the bins elsewhere than the released moments do.
    _, wrong = hand.order(8, model=exchange.model_bytes(fit.result))
    assert "does not follow from the signed sum" in refusal(hand.ask("b", wrong)).reason


def test_an_aborted_answer_is_named_and_the_others_stand(tmp_path: Path) -> None:
    world = World.of(tmp_path, ALONE)
    seen: list[str] = []

    def bend(hospital: str, kind: str, message: bytes) -> list[bytes]:
        if kind == "upload_header" and hospital in ("c", "d"):
            seen.append(hospital)
            # The third round loses two of four hospitals, one more than the threshold allows.
            return [] if seen.count(hospital) == 3 else [message]
        return [message]

    world.link.up = bend
    run, executed = world.execute()
    assert executed.failed is None, executed.failed
    assert [o.status for o in run.outcomes] == ["done", "done", "aborted"]
    answers = result_json(world.agreement, world.signed, executed.record)["analysis"]["results"]
    assert [answer.get("reason") for answer in answers] == [None, None, NOT_ANSWERED]
    assert "groups" not in answers[2]
    assert ("SPENT", 3) in world.ledger("a")


def test_an_exit_counts_in_its_interval_and_an_entry_from_the_start_of_its_own() -> None:
    grid = np.asarray(small_agreement(ALONE).times_days)
    cohort = Cohort(
        np.zeros((3, 1)), np.array([10.0, 10.2, 1000.0]), np.array([1, 0, 0]), np.array([0.0, 10.1, 40.1])
    )
    asked = Asked.of({}, cohort, grid)
    np.testing.assert_array_equal(asked.exit_interval, [0, 1, 9])
    assert asked.entry_interval is not None
    np.testing.assert_array_equal(asked.entry_interval, [0, 1, 2])

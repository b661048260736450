"""Studies whose hospitals send noised sums, through real nodes, real secure aggregation and the Flower strategy."""

from pathlib import Path

import numpy as np
import pytest

from coordinator.results import result_json
from privacy.guarantees.accounting import spent
from privacy.ledgers.charges import charged
from privacy.studies import exchange, next_model
from secagg.fixed_point import from_ring
from tests.consortium import HOSPITALS, Hand, World, small_agreement
from tests.unit.hospital_node.rounds import refusal

STATED = "\nrounds = 2\nlocal_steps = 2\nsample_rate = 1.0"
DISTRIBUTED = (('mode = "local"', 'mode = "distributed"'), (STATED, "\nrounds = 3"))
# A budget at which the noise would hide a Hessian.
FEW = (('mode = "local"\nepsilon = 3', 'mode = "distributed"\nepsilon = 0.5'), (STATED, "\nrounds = 2"))
LOCAL = ((STATED, '\nrecipe = "newton"\nrounds = 2'),)
ADAM = (('mode = "local"', 'mode = "distributed"'), (STATED, '\nrecipe = "adam"\nrounds = 2'))
NONE = (
    ('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"'),
    (STATED, '\nrecipe = "newton"\nrounds = 2'),
)


@pytest.mark.parametrize(
    ("changes", "tasks"),
    [
        (DISTRIBUTED, ["life_table", "hessian", *3 * ["newton"]]),
        (FEW, ["life_table", "means", *2 * ["newton"]]),
        (LOCAL, ["life_table", "hessian", *2 * ["newton"]]),
        (ADAM, ["life_table", *2 * ["gradient"], "predictor_moments", "risk_table"]),
        (NONE, ["life_table", "hessian", *2 * ["newton"]]),
    ],
    ids=["distributed", "few", "local", "adam", "none"],
)
def test_a_study_from_the_first_round_to_the_result(
    tmp_path: Path, changes: tuple[tuple[str, str], ...], tasks: list[str]
) -> None:
    world = World.of(tmp_path, *changes)
    run, executed = world.execute()
    assert executed.failed is None, executed.failed
    assert [exchange.task_of(world.agreement, o.round) for o in run.outcomes] == tasks
    for outcome in run.outcomes:
        assert outcome.total is not None
        expected = world.recorded(outcome.round, outcome.answered)
        if world.agreement.study.spare_layers:
            length = exchange.task_at(world.agreement, outcome.round).length
            expected[:length] -= world.spared(outcome.round, length)
            expected[exchange.REMOVED] = len(outcome.noise_removed)
        np.testing.assert_array_equal(expected, outcome.total)
    assert world.refusals("a") == []
    result = result_json(world.agreement, world.signed, executed.record)
    assert all((row["se"] is None) == bool(row.get("reason")) for row in result["coefficients"])
    if world.agreement.plan is None:
        return
    # What the ledgers charged is the whole plan, and no more than was promised.
    for hospital in HOSPITALS:
        entries = world.nodes[hospital].ledger.entries()
        cost = spent(charged(entries), world.agreement.plan.delta).number()
        assert cost == pytest.approx(
            spent(world.agreement.plan.releases, world.agreement.plan.delta).number()
        )
        assert cost <= 3
    assert result["guarantee"]["epsilon"] <= 3


def test_a_hospital_follows_the_fold_and_refuses_a_model_that_does_not(tmp_path: Path) -> None:
    hand = Hand(World.of(tmp_path, *DISTRIBUTED))
    hand.join()
    agreement, fit, model = hand.world.agreement, None, b""
    for number in (1, 2, 3):
        total, receipt, members = hand.round(number, model)
        for hospital in HOSPITALS:
            assert hand.ask(hospital, receipt) == []
        fit = next_model.followed(agreement, fit, number, from_ring(total, 64), sorted(members))
        assert fit is not None
        theta = fit.ordered(exchange.task_of(agreement, number + 1))
        model = exchange.model_bytes(theta)
    wrong = theta + 0.01
    _, made_up = hand.order(4, model=exchange.model_bytes(wrong))
    assert "does not follow from the signed sum of round 3" in refusal(hand.ask("b", made_up)).reason
    _, order = hand.order(4, model=model)
    assert len(hand.ask("b", order)) > 1


def test_a_hospital_counts_columns_from_the_released_center_and_no_other(tmp_path: Path) -> None:
    hand = Hand(World.of(tmp_path, *FEW))
    hand.join()
    agreement, fit, model = hand.world.agreement, None, b""
    for number in (1, 2):
        total, receipt, members = hand.round(number, model)
        for hospital in HOSPITALS:
            assert hand.ask(hospital, receipt) == []
        fit = next_model.followed(agreement, fit, number, from_ring(total, 64), sorted(members))
        assert fit is not None
        asked = fit.ordered(exchange.task_of(agreement, number + 1))
        model = exchange.model_bytes(asked)
    assert asked.size == agreement.parameters + len(agreement.columns)
    asked[-1] += 0.01
    _, moved = hand.order(3, model=exchange.model_bytes(asked))
    assert "does not follow from the signed sum of round 2" in refusal(hand.ask("b", moved)).reason
    _, short = hand.order(3, model=model[: 8 * agreement.parameters])
    assert "parameters" in refusal(hand.ask("c", short)).reason
    _, order = hand.order(3, model=model)
    assert len(hand.ask("d", order)) > 1


def test_one_hospital_s_vector_has_a_share_of_the_noise_and_all_together_enough() -> None:
    """n = 4, T = 1, t = 3: two shares count, so each is 1/sqrt 2 of central noise."""
    plan = small_agreement(*DISTRIBUTED).plan
    assert plan is not None
    for release in plan.releases:
        assert release.shares == 2
        full = release.noise_multiplier * release.units
        assert release.scale_units() == pytest.approx(full / 2**0.5, rel=1e-9)
        assert release.noise_sd(4) / release.clip_l2 == pytest.approx(2**0.5 * release.noise_multiplier)


def test_what_the_record_of_a_failed_study_says(tmp_path: Path) -> None:
    """The Hessian cannot be done without: its abort ends the study, and what was released stays charged."""
    world = World.of(tmp_path, *DISTRIBUTED)

    seen = 0

    def bend(hospital: str, kind: str, message: bytes) -> list[bytes]:
        nonlocal seen
        seen += kind == "upload_header" and hospital in ("c", "d")
        return [] if seen > 2 and hospital in ("c", "d") else [message]

    world.link.up = bend
    _, executed = world.execute()
    assert executed.failed is not None
    assert "hessian" in str(executed.failed)
    assert executed.record.theta is None
    assert ("SPENT", 2) in world.ledger("a")

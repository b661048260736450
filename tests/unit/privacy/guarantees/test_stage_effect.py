"""Every row of the design's table of stages: what the guarantee of the training becomes behind it."""

from dataclasses import replace
from math import exp
from typing import Any

import pytest

from privacy.assessment.recompute_ledgers import read_ledger
from privacy.guarantees.accounting import spent
from privacy.guarantees.guarantee import Guarantee, NoGuarantee
from privacy.guarantees.plan import Charge, DpPlan, Release, vectors
from privacy.guarantees.pricing import price
from privacy.guarantees.stage_effect import (
    Adds,
    Beside,
    Effect,
    Replaces,
    Rows,
    Voids,
    effect_of,
    end_to_end,
    mixed,
)
from privacy.guarantees.stage_release import LevelRelease, ThresholdRelease, VoidRelease, stage_from_json
from privacy.ledgers.charges import charged_to, cumulative
from privacy.ledgers.ledger import ENTRY_LABEL, Ledger, Record
from privacy.ledgers.ledger_export import SEAL_LABEL, export
from privacy.link.canonical import canonical, parse_canonical
from privacy.studies.agreement import AgreementError, build, from_bytes
from privacy.studies.study import StudyError
from secagg.identity import public_key, sign
from secagg.secret import SecretBytes
from tests.study_files import study

SMALL = (
    'family = "piecewise_exponential"',
    'family = "piecewise_exponential"\nrounds = 2\nlocal_steps = 2\nsample_rate = 1.0',
)
THRESHOLD = ('kind = "generalize"', 'kind = "threshold"\nepsilon = 0.5\ndelta = 1e-6')
MONDRIAN = ('kind = "generalize"', 'kind = "mondrian"')
SEED = SecretBytes(b"\x05" * 32)


def training(rows: int) -> Guarantee:
    """Full-batch Gaussian of noise multiplier 4, asked for the rows that one patient moves."""
    return spent((Release("train", "gaussian", 4.0, rows),), 1e-5)


TABLE = [
    (("none", None, None, None), training(1)),
    (("generalize", 5, None, None), training(1)),
    (("drop", 5, None, None), training(5)),
    (("threshold", 5, 0.5, 1e-6), (training(1).number() + 0.5, 1e-5 + 1e-6)),
    (("level", 5, 0.5, None), (training(1).number() + 0.5, 1e-5)),
    (("synthetic_dp", None, 1.0, 1e-6), (1.0, 1e-6)),
    (("mondrian", 5, None, None), None),
    (("synthetic_sdv", None, None, None), None),
]


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
@pytest.mark.parametrize(("stage", "expected"), TABLE, ids=[row[0][0] for row in TABLE])
def test_a_row_of_the_table(stage: tuple[str, int, float, float], expected: object) -> None:
    found = end_to_end(effect_of(*stage), training)
    match expected:
        case None:
            assert found.kind == "none"
            assert found.reason
            with pytest.raises(NoGuarantee):
                found.number()
        case (epsilon, delta):
            assert (found.number(), found.delta) == (pytest.approx(epsilon), pytest.approx(delta))
        case _:
            assert found == expected


def test_the_rows_without_a_section_in_a_study_file() -> None:
    assert end_to_end(Adds(0.3), training).number() == pytest.approx(training(1).number() + 0.3)
    beside = end_to_end(Beside(1.0, 1e-6), training)
    assert beside.number() == pytest.approx(training(1).number() + 1.0)
    assert end_to_end(Rows(3), training) == training(3)


def test_k_times_epsilon_would_understate_a_dropped_class() -> None:
    def sampled(rows: int) -> Guarantee:
        return spent((Release("train", "poisson_gaussian", 3.589, rows, 128 / 3000, 468),), 1e-5)

    assert end_to_end(Rows(5), sampled).number() > 1.2 * 5 * end_to_end(Rows(1), sampled).number()


def test_a_void_stage_absorbs_whatever_is_chained_with_it() -> None:
    void = end_to_end(Voids("because"), training)
    assert void.then(training(1)).kind == training(1).then(void).kind == "none"
    assert (
        end_to_end(Replaces(1.0, 1e-6), lambda _: pytest.fail("training is post-processing")).number() == 1.0
    )


MIXES = [
    # Several rows a patient in front of dropped classes: each of them can move k rows.
    ((Rows(2), Rows(5)), (training(10).number(), 1e-5)),
    ((Adds(0.5, 1e-6), Adds(0.25), Rows()), (training(1).number() + 0.75, 1e-5 + 1e-6)),
    # The kept set of a table in which one patient moves two rows: group privacy, and the training sees both.
    ((Rows(2), Adds(0.5, 1e-6)), (training(2).number() + 1.0, 1e-5 + (1 + exp(0.5)) * 1e-6)),
    ((Beside(1.0, 1e-6), Adds(0.5, 1e-6)), (training(1).number() + 1.5, 1e-5 + 2e-6)),
    ((Adds(0.5, 1e-6), Replaces(1.0, 1e-6)), (1.5, 2e-6)),
    ((Rows(3), Replaces(1.0, 0.0)), (3.0, 0.0)),
    # Cuts from private output are post-processing; cuts from rows are not, whatever follows.
    ((Replaces(1.0, 1e-6), Voids("cuts from rows"), Rows(5)), (1.0, 1e-6)),
    ((Voids("cuts from rows"), Replaces(1.0, 1e-6)), None),
    ((Adds(0.5, 1e-6), Voids("fitted scaler")), None),
    ((Rows(5), Voids("l-gated suppression")), None),
]


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
@pytest.mark.parametrize(("effects", "expected"), MIXES)
def test_mixed_stages_compose(effects: tuple[Effect, ...], expected: tuple[float, float] | None) -> None:
    found = mixed(effects, training)
    if expected is None:
        assert (found.kind, found.epsilon, found.delta) == ("none", None, None)
        assert "epsilon" not in found.to_json()
    else:
        assert (found.number(), found.delta) == (pytest.approx(expected[0]), pytest.approx(expected[1]))


@pytest.mark.parametrize("numbers", [(1.0, None, "r"), (None, 1e-5, "r"), (1.0, 1e-5, "r"), (None, None, "")])
def test_no_guarantee_with_a_number_can_be_made(numbers: tuple[float, float, str]) -> None:
    epsilon, delta, reason = numbers
    with pytest.raises(ValueError, match="'none' has a reason and no numbers"):
        Guarantee("none", epsilon, delta, reason=reason)


@pytest.mark.parametrize(
    "stage", [("drop", None, None, None), ("threshold", 5, None, None), ("incognito", 5, None, None)]
)
def test_a_stage_without_what_it_needs_has_no_effect(stage: tuple[str, int, None, None]) -> None:
    with pytest.raises(ValueError, match="no known effect"):
        effect_of(*stage)


def test_a_study_with_a_threshold_prints_the_sum() -> None:
    plain, made = build(study(SMALL)), build(study(SMALL, THRESHOLD))
    assert made.plan is not None
    assert plain.plan is not None
    assert (made.study.epsilon, made.study.delta) == (3.5, pytest.approx(1.1e-5))
    body: dict[str, Any] = price(made.plan)
    guarantee = Guarantee.from_json(body["guarantee"])
    assert made.study.delta is not None
    behind = spent(vectors(made.plan.charges), made.study.delta - 1e-6)
    algebra = end_to_end(made.study.effect, lambda _: behind)
    assert guarantee.number() == pytest.approx(algebra.number(), abs=1e-12)
    assert 3.49 < guarantee.number() <= 3.5
    assert guarantee.delta == made.study.delta
    # Behind the stage the noise is that of the same study without it.
    noises = [[r.noise_multiplier for r in plan.releases] for plan in (plain.plan, made.plan)]
    assert noises[0] == noises[1]
    assert from_bytes(made.to_bytes()).plan == made.plan
    assert DpPlan.from_json(made.plan.to_json()) == made.plan
    fnr = {point["fpr"]: point["fnr"] for point in body["tradeoff"]}
    before: dict[str, Any] = price(plain.plan)
    without = {point["fpr"]: point["fnr"] for point in before["tradeoff"]}
    assert all(fnr[fpr] < without[fpr] for fpr in fnr)
    assert spent(made.plan.charges, 1e-6).epsilon == float("inf")


def test_replacing_a_patient_changes_two_cells() -> None:
    stage = ThresholdRelease(0.5, 1e-6, 5, "ab" * 32)
    assert stage.cost("replace") == (1.0, pytest.approx((1 + 1.6487212707) * 1e-6))
    assert spent((stage,), 1e-5, "replace").number() == 1.0


def test_an_agreement_without_the_stages_charge_is_refused() -> None:
    made = build(study(SMALL, THRESHOLD))
    for change in (
        lambda stage: None,
        lambda stage: stage | {"epsilon": 0.4},
        lambda stage: stage | {"cells": "cd" * 32},
    ):
        body = parse_canonical(made.to_bytes())
        changed = change(body["plan"].pop("stage"))
        if changed is not None:
            body["plan"]["stage"] = changed
        with pytest.raises(AgreementError, match="stage"):
            from_bytes(canonical(body))


def test_no_number_anywhere_behind_mondrian() -> None:
    made = build(study(SMALL, MONDRIAN))
    assert made.plan is not None
    body: dict[str, Any] = price(made.plan)
    assert body["guarantee"]["kind"] == "none"
    assert set(body) == {"guarantee", "stage_cost"}
    assert "epsilon" not in str(body)
    assert any("no formal guarantee" in remark for remark in made.study.remarks())
    assert from_bytes(made.to_bytes()).plan == made.plan
    with pytest.raises(NoGuarantee):
        spent(made.plan.charges, 1e-5).number()


def chained(*charges: Charge) -> Ledger:
    ledger = Ledger()
    for number, charge in enumerate(charges):
        for kind in ("RESERVE", "SPENT"):
            record = Record(kind, "2031-05-06T07:08:09Z", "ab" * 32, "s", "00", number, charge)
            ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
    return ledger


def test_a_ledger_adds_thresholds_and_loses_its_number_behind_a_void_stage() -> None:
    noisy, stage = Release("train", "gaussian", 4.0), ThresholdRelease(0.5, 1e-6, 5, "ab" * 32)
    ledger = chained(stage, noisy)
    alone = spent((noisy,), 1e-5 - 1e-6).number()
    assert cumulative(ledger.entries, 1e-5).number() == pytest.approx(alone + 0.5)
    assert charged_to(ledger.entries, "cd" * 32, stage) == ()
    for entry in ledger.entries:
        assert type(entry).from_line(entry.to_line()) == entry
    void = chained(noisy, VoidRelease("mondrian", "its cuts depend on patients"))
    assert cumulative(void.entries, 1e-5).reason == "its cuts depend on patients"


def test_one_drawing_pays_for_every_later_study() -> None:
    stage, noisy = ThresholdRelease(0.5, 1e-6, 5, "ab" * 32), Release("train", "gaussian", 4.0)
    ledger = chained(stage)
    for kind in ("RESERVE", "SPENT"):
        record = Record(kind, "2031-05-06T07:08:09Z", "cd" * 32, "t", "00", 1, noisy)
        ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
    assert charged_to(ledger.entries, "cd" * 32, stage) == (stage, noisy)
    # No drawing of this one is in the ledger, and the rounds behind it were charged all the same.
    hidden = replace(stage, k=6)
    assert charged_to(ledger.entries, "cd" * 32, hidden) == (hidden, noisy)


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_a_ledger_that_hides_a_void_stage_gets_no_number() -> None:
    void, noisy = VoidRelease("mondrian", "cuts from rows"), Release("train", "gaussian", 4.0)
    silent = chained(noisy)
    seal = export(silent.entries, "2031-05-06T07:08:09Z", lambda body: sign(SEED, SEAL_LABEL, body))
    read = read_ledger(seal, "a", public_key(SEED), "ab" * 32, 1e-5, void)
    assert read.problem == ""
    assert (read.epsilon_shown, read.epsilon_run, read.epsilon_cumulative, read.steps) == (
        None,
        None,
        None,
        (),
    )
    assert read_ledger(seal, "a", public_key(SEED), "ab" * 32, 1e-5).epsilon_shown is not None


def test_a_ledger_that_mixes_stages_adds_all_of_them_once() -> None:
    threshold, level = ThresholdRelease(0.5, 1e-6, 5, "ab" * 32), LevelRelease(0.25, 5, "ab" * 32)
    plain, dropped = Release("train", "gaussian", 4.0), Release("other", "gaussian", 20.0, 5)
    ledger = chained(threshold, plain, level, dropped)
    alone = spent((plain, dropped), 1e-5 - 1e-6).number()
    assert cumulative(ledger.entries, 1e-5).number() == pytest.approx(alone + 0.75)
    void = chained(threshold, plain, VoidRelease("mondrian", "cuts from rows"), level, dropped)
    assert cumulative(void.entries, 1e-5).kind == "none"


@pytest.mark.parametrize(
    "change", [{"k": 0}, {"epsilon": 0}, {"delta": 2.0}, {"cells": "ab"}, {"more": 1}, {"k": True}]
)
def test_a_stage_release_is_read_strictly(change: dict[str, object]) -> None:
    body = ThresholdRelease(0.5, 1e-6, 5, "ab" * 32).to_json()
    assert stage_from_json(body) == ThresholdRelease(0.5, 1e-6, 5, "ab" * 32)
    with pytest.raises(ValueError):
        stage_from_json(body | change)
    with pytest.raises(ValueError):
        stage_from_json({"kind": "void", "name": "stage_x", "stage": "y", "reason": "z"})


REFUSED = [
    (('kind = "generalize"', 'kind = "threshold"'), "needs epsilon and delta"),
    (('kind = "generalize"\nk = 3', 'kind = "threshold"\nepsilon = 1\ndelta = 1e-6'), "needs k"),
    (("k = 3", "k = 3\nepsilon = 1\ndelta = 1e-6"), "spends nothing"),
    (("cuts = [40, 60]", ""), "needs its public cuts"),
    (("epsilon = 0.5", "epsilon = 1e-8"), "no cell would be kept"),
]


@pytest.mark.parametrize(("change", "sentence"), REFUSED, ids=[r[1] for r in REFUSED])
def test_a_threshold_that_is_not_complete(change: tuple[str, str], sentence: str) -> None:
    first = () if change[0].startswith("kind") or change[0] == "k = 3" else (THRESHOLD,)
    with pytest.raises(StudyError, match=sentence):
        study(*first, change)


def test_a_threshold_needs_a_mode_that_pays() -> None:
    with pytest.raises(StudyError, match="it needs"):
        study(('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"'), THRESHOLD)

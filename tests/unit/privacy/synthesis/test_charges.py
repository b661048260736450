"""The stage synthetic_dp in plan, ledger and account: one charge, exact, that no list of rounds can hide."""

from dataclasses import replace
from typing import Any

import pytest

from privacy.assessment.recompute_ledgers import noise_problem, read_ledger
from privacy.guarantees.accounting import spent
from privacy.guarantees.plan import Charge, DpPlan, PlanError, Release, charge_from_json
from privacy.guarantees.pricing import price
from privacy.guarantees.stage_effect import end_to_end
from privacy.ledgers.charges import charged_to, cumulative
from privacy.ledgers.ledger import ENTRY_LABEL, EntryKind, Ledger, Record
from privacy.ledgers.ledger_export import SEAL_LABEL, export
from privacy.ledgers.policy import PolicyRefusal, StudyTerms, check, check_round
from privacy.ledgers.policy_file import Policy
from privacy.link.canonical import canonical, parse_canonical
from privacy.studies.agreement import AgreementError, build, from_bytes
from privacy.studies.refusals import NotBuilt, StudyError
from privacy.synthesis.charges import DerivedRelease, SynthesisRelease
from privacy.synthesis.gate import decided_before, gate_note
from secagg.identity import public_key, sign
from secagg.secret import SecretBytes
from tests.study_files import study
from tests.unit.privacy.ledgers.test_policy import NOW as START
from tests.unit.privacy.ledgers.test_policy import POLICY

PRIVATE = ('kind = "generalize"', 'kind = "synthetic_dp"\nepsilon = 1.0\ndelta = 1e-6')
SDV = ('"generalize"', '"synthetic_sdv"')
NO_BUDGET = ("epsilon = 3\ndelta = 1e-5\n", "")
SEED = SecretBytes(b"\x05" * 32)
STUDY, OTHER = "ab" * 32, "cd" * 32

MADE = build(study(PRIVATE, NO_BUDGET))
assert MADE.plan is not None
assert isinstance(MADE.plan.stage, SynthesisRelease)
STAGE = MADE.plan.stage
ROUND = DerivedRelease("train", STAGE)


def chained(*charges: tuple[str, Charge]) -> Ledger:
    ledger = Ledger()
    for number, (study_hash, charge) in enumerate(charges):
        for kind in ("RESERVE", "SPENT"):
            record = Record(kind, "2031-05-06T07:08:09Z", study_hash, study_hash[:2], "00", number, charge)
            ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
    return ledger


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_the_study_costs_what_the_stage_costs_and_the_rounds_nothing() -> None:
    assert (MADE.study.epsilon, MADE.study.delta) == (1.0, 1e-6)
    assert MADE.plan is not None
    body: dict[str, Any] = price(MADE.plan)
    found = body["guarantee"]["epsilon"]
    algebra = end_to_end(MADE.study.effect, lambda _: pytest.fail("training is post-processing"))
    assert 0.999 < found <= algebra.number() == 1.0
    assert body["guarantee"]["delta"] == algebra.delta == 1e-6
    assert spent((STAGE, ROUND, ROUND), 1e-6).number() == pytest.approx(found)
    assert [release["name"] for release in body["releases"]] == [
        "synthesis_outcome",
        "synthesis_score",
        "synthesis_moments",
        "synthesis_margins",
    ]
    # The second opinion is larger, both adjacencies are there.
    assert body["rdp"]["epsilon"] > found
    assert body["replace"]["epsilon"] > found
    assert (MADE.training.recipe, MADE.training.sample_rate, MADE.noising) == ("full_batch", 1.0, None)


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_a_list_of_rounds_without_its_stage_costs_the_stage() -> None:
    whole = spent((STAGE, ROUND), 1e-5).number()
    assert spent((ROUND,), 1e-5).number() == spent((ROUND, ROUND), 1e-5).number() == pytest.approx(whole)
    other = DerivedRelease("train", replace(STAGE, settings="ef" * 32))
    assert spent((ROUND, other), 1e-5).number() > 1.3 * whole
    silent = chained((STUDY, ROUND))
    seal = export(silent.entries, "2031-05-06T07:08:09Z", lambda body: sign(SEED, SEAL_LABEL, body))
    read = read_ledger(seal, "a", public_key(SEED), STUDY, 1e-6, STAGE)
    assert read.epsilon_shown == pytest.approx(spent((STAGE,), 1e-6).number())
    assert read.paid_rounds == {0}


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_a_ledger_that_charges_a_round_before_its_table_is_named() -> None:
    for charges, named in (
        (((MADE.hash, STAGE), (MADE.hash, ROUND)), False),
        (((OTHER, STAGE), (MADE.hash, ROUND)), False),
        (((MADE.hash, ROUND),), True),
        (((MADE.hash, ROUND), (MADE.hash, STAGE)), True),
        (((OTHER, replace(STAGE, epsilon=2.0)), (MADE.hash, ROUND)), True),
    ):
        seal = export(
            chained(*charges).entries, "2031-05-06T07:08:09Z", lambda body: sign(SEED, SEAL_LABEL, body)
        )
        read = read_ledger(seal, "a", public_key(SEED), MADE.hash, 1e-6, STAGE)
        assert ("before the first round" in noise_problem(read, MADE)) is named


def test_sums_of_gaussians_compose_exactly_and_not_by_adding_epsilons() -> None:
    noisy = Release("train", "gaussian", 4.0)
    both = cumulative(chained((STUDY, STAGE), (OTHER, noisy)).entries, 1e-5).number()
    parts = [spent((charge,), 1e-5).number() for charge in (STAGE, noisy)]
    assert max(parts) < both < 0.8 * sum(parts)
    assert charged_to(chained((STUDY, STAGE), (OTHER, ROUND)).entries, OTHER, STAGE) == (STAGE, ROUND)


def test_what_a_hospital_accepts() -> None:
    assert from_bytes(MADE.to_bytes()) == MADE
    for change, sentence in (
        ({"noise": [z / 2 for z in STAGE.noise]}, "costs epsilon"),
        ({"settings": "ef" * 32}, "stage"),
        ({"epsilon": 2.0}, "stage"),
    ):
        body = parse_canonical(MADE.to_bytes())
        body["plan"]["stage"] |= change
        with pytest.raises(AgreementError, match=sentence):
            from_bytes(canonical(body))
    for charge in (STAGE, ROUND):
        body = charge.to_json()
        assert charge_from_json(body) == charge
        with pytest.raises(PlanError):
            charge_from_json(body | {"more": 1})
    with pytest.raises(PlanError, match="not noised again"):
        DpPlan((Release("train", "gaussian", 4.0),), 1.0, 1e-6, STAGE)
    with pytest.raises(PlanError, match="noise multiplier"):
        replace(STAGE, noise=(1.0, 1.0, 1e9, 1.0))


def terms(**changes: object) -> StudyTerms:
    body: dict[str, Any] = {
        "mode": "local",
        "plan": MADE.plan,
        "family": "piecewise_exponential",
        "stage": "synthetic_dp",
        "purpose": "test",
        "threshold": 3,
        "colluding": 1,
        "n": 4,
        "epsilon": 1.0,
        "delta": 1e-6,
        "study_id": STUDY[:2],
        "study_hash": STUDY,
    }
    return StudyTerms(**(body | changes))


def policy(**changes: object) -> Policy:
    body = {"stages": ("synthetic_dp",), "purposes": ("*",), "epsilon_total": 1.2, "delta_total": 1e-5}
    return type(POLICY).model_validate(POLICY.model_dump() | body | changes)


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_a_policy_admits_what_was_drawn_before_without_room_and_nothing_else() -> None:
    rules = policy(minimum_noise_multiplier=0.0)
    check(rules, terms(), (), START)
    spent_by_another = chained((OTHER, STAGE)).entries
    check(rules, terms(), spent_by_another, START)
    assert MADE.plan is not None
    fresh = replace(MADE.plan, stage=replace(STAGE, settings="ef" * 32))
    for refused, entries, rule in (
        (rules, chained((OTHER, replace(STAGE, settings="ef" * 32))).entries, "epsilon_total"),
        (policy(stages=("generalize",)), (), "stages"),
        (policy(minimum_noise_multiplier=1e4), (), "minimum_noise_multiplier"),
        # With a consent register other patients may permit this study: it draws its own.
        (policy(consent_register=True, minimum_noise_multiplier=0.0), spent_by_another, "epsilon_total"),
    ):
        with pytest.raises(PolicyRefusal) as caught:
            check(refused, terms(duo="DUO:0000006"), entries, START)
        assert caught.value.rule == rule
    with pytest.raises(PolicyRefusal, match="epsilon_total"):
        check(rules, terms(plan=fresh), spent_by_another, START)


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_no_round_goes_on_without_the_table_it_lives_on() -> None:
    rules, paid = policy(), chained((STUDY, STAGE)).entries
    check_round(rules, terms(), paid, ROUND, START)
    for entries, release in (
        ((), ROUND),
        (paid, DerivedRelease("train", replace(STAGE, settings="ef" * 32))),
        (paid, Release("train", "gaussian", 4.0)),
    ):
        with pytest.raises(PolicyRefusal, match="plan"):
            check_round(rules, terms(), entries, release, START)


ENTRY = (
    '[[field]]\nname = "age"',
    '[[field]]\nname = "start"\ntype = "float"\nrole = "entry"\nunit = "days"\npurpose = "p"\n\n[[field]]\nname = "age"',
)
NONE = ('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"')
REFUSED = [
    ((PRIVATE, NONE), "mode = 'local'"),
    ((PRIVATE, ('mode = "local"', 'mode = "distributed"')), "mode = 'local'"),
    ((('kind = "generalize"', 'kind = "synthetic_dp"\nepsilon = 1.0'),), "needs epsilon and delta"),
    ((('kind = "generalize"', 'kind = "synthetic_sdv"\nepsilon = 1.0'),), "spends nothing"),
    ((PRIVATE, ("[model]", '[model]\nrecipe = "dp_sgd"')), "leave recipe out"),
    ((PRIVATE, ("[model]", "[model]\nsample_rate = 0.5")), "sample_rate"),
    ((PRIVATE, ("epsilon = 3", "evaluation_share = 0.2\nepsilon = 3")), "evaluation_share"),
]


@pytest.mark.parametrize(("changes", "sentence"), REFUSED, ids=[r[1] for r in REFUSED])
def test_a_study_that_cannot_stand_on_synthetic_patients(
    changes: tuple[tuple[str, str], ...], sentence: str
) -> None:
    with pytest.raises(StudyError, match=sentence):
        study(*changes)


def test_what_no_synthesizer_takes_is_not_built_and_what_is_not_used_is_said() -> None:
    for stage in (PRIVATE, SDV):
        with pytest.raises(NotBuilt, match="synthetic data is not built yet"):
            study(stage, ('role = "event"', 'role = "event"\nminimum = 0\nmaximum = 2'))
    assert any("[privacy] epsilon and delta are not used" in said for said in study(PRIVATE).remarks())
    assert build(study(PRIVATE)).plan == MADE.plan
    assert any("no formal guarantee" in said for said in study(SDV).remarks())


def test_nothing_has_a_number_behind_sdv_in_any_mode() -> None:
    small = ("[model]", '[model]\nrounds = 2\nlocal_steps = 2\nsample_rate = 1.0\nrecipe = "dp_sgd"')
    made = build(study(SDV, small))
    assert made.plan is not None
    assert "epsilon" not in str(price(made.plan))
    assert "not patients" in str(price(made.plan)["guarantee"])
    assert build(study(SDV, NONE)).plan is None


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_gate_counts_only_where_it_was_written_before_the_drawing() -> None:
    def ledger(*lines: tuple[str, str | Charge]) -> Ledger:
        found = Ledger()
        for number, (study_hash, line) in enumerate(lines):
            kind: EntryKind = "NOTE" if isinstance(line, str) else "RESERVE"
            charge, note = (None, line) if isinstance(line, str) else (line, "")
            at = 0 if isinstance(line, str) else number
            record = Record(kind, "2031-05-06T07:08:09Z", study_hash, study_hash[:2], "00", at, charge, note)
            found = found.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
        return found

    measure, stop = gate_note("measure"), gate_note("stop")
    for lines, decided in (
        (((STUDY, measure), (STUDY, STAGE), (STUDY, ROUND)), True),
        (((STUDY, STAGE), (STUDY, measure), (STUDY, ROUND)), False),
        (((STUDY, STAGE), (STUDY, ROUND)), False),
        # Another study drew: its table was known when this one decided.
        (((OTHER, measure), (OTHER, STAGE), (STUDY, measure), (STUDY, ROUND)), True),
        (((OTHER, stop), (OTHER, STAGE), (STUDY, measure), (STUDY, ROUND)), False),
        (((OTHER, STAGE), (OTHER, measure), (STUDY, measure), (STUDY, ROUND)), False),
        # Each drew for itself.
        (((OTHER, stop), (OTHER, STAGE), (STUDY, measure), (STUDY, STAGE), (STUDY, ROUND)), True),
    ):
        assert decided_before(ledger(*lines).entries, STUDY, STAGE) is decided

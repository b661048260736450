"""Every limit of policy.toml, each with a study just beyond it."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import sqrt
from typing import Any

import pytest

from privacy.guarantees.accounting import renyi_epsilon, spent
from privacy.guarantees.composition import gdp_mu
from privacy.guarantees.guarantee import rounded_up
from privacy.guarantees.plan import DpPlan, Release
from privacy.ledgers.budget import filter_order
from privacy.ledgers.ledger import ENTRY_LABEL, Entry, EntryKind, Ledger, Record
from privacy.ledgers.policy import Policy, PolicyRefusal, StudyTerms, check, check_round
from privacy.ledgers.policy_file import PolicyFileError, parse_policy
from secagg.identity import sign
from secagg.secret import SecretBytes

SEED = SecretBytes(b"\x03" * 32)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
TEXT = """
epsilon_total = 3.0
delta_total = 1e-5
minimum_noise_multiplier = 1.0
minimum_threshold = 3
minimum_cohort = 4
colluding_minimum = 1
families = ["piecewise_exponential"]
stages = ["none", "generalize"]
purposes = ["Effect of the four arms on survival"]
modes = ["local", "none"]
aborted_rounds_maximum = 1
expires = 2026-12-31
"""
POLICY = parse_policy(TEXT, "policy.toml")
ROUNDS = 10


def plan_for(epsilon: float) -> DpPlan:
    """Full batch, exactly at its target, so that the account is a closed form and quick."""
    noise = sqrt(ROUNDS) / gdp_mu(epsilon, 1e-5) * (1 + 1e-9)
    return DpPlan((Release("train", "gaussian", noise, steps=ROUNDS),), epsilon, 1e-5)


TERMS = StudyTerms(
    mode="local",
    plan=plan_for(3.0),
    family="piecewise_exponential",
    stage="generalize",
    purpose="Effect of the four arms on survival",
    threshold=3,
    colluding=1,
    n=4,
    epsilon=3.0,
    delta=1e-5,
    study_id="arms",
    study_hash="ab" * 32,
)
STEP = plan_for(3.0).releases[0].split(ROUNDS)
ALL = range(1, ROUNDS + 1)


def asking(epsilon: float, **changes: Any) -> StudyTerms:
    return replace(TERMS, plan=plan_for(epsilon), epsilon=epsilon, **changes)


def history(
    *steps: tuple[EntryKind, int], release: Release = STEP, study: str = TERMS.study_hash
) -> tuple[Entry, ...]:
    ledger = Ledger()
    for kind, number in steps:
        paid = release if kind in ("RESERVE", "SPENT") else None
        record = Record(kind, "2026-01-01T00:00:00Z", study, "demo", "01" * 16, number, paid)
        ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
    return ledger.entries


def refusal(terms: StudyTerms, entries: Sequence[Entry] = (), policy: Policy = POLICY) -> PolicyRefusal:
    with pytest.raises(PolicyRefusal) as caught:
        check(policy, terms, entries, NOW)
    return caught.value


def test_a_study_within_every_limit_is_permitted_with_its_account() -> None:
    permit = check(POLICY, TERMS, (), NOW)
    assert permit.before.number() == 0
    assert permit.after.number() == pytest.approx(3.0, rel=1e-6)
    assert permit.filter_epsilon > 3.0
    assert permit.filter_order == filter_order(POLICY)


@pytest.mark.threat("FL-16", control="C-POLICY")
@pytest.mark.parametrize(
    ("rule", "terms"),
    [
        ("modes", replace(TERMS, mode="distributed")),
        ("modes", replace(TERMS, plan=None)),
        ("modes", replace(TERMS, mode="none")),
        ("allow_mode_none", replace(TERMS, mode="none", plan=None)),
        ("allow_sparse_graph", replace(TERMS, sparse=True)),
        ("families", replace(TERMS, family="mlp")),
        ("stages", replace(TERMS, stage="drop")),
        ("purposes", replace(TERMS, purpose="Marketing")),
        ("purposes", replace(TERMS, purpose=" ")),
        ("minimum_threshold", replace(TERMS, threshold=2)),
        ("minimum_cohort", replace(TERMS, n=3)),
        ("colluding_minimum", replace(TERMS, colluding=0)),
        ("analyses", replace(TERMS, analyses=("mean",))),
        ("minimum_cell", replace(TERMS, minimum_cell=1)),
        ("epsilon_total", replace(TERMS, epsilon=2.0)),
        ("epsilon_total", replace(TERMS, plan=replace(plan_for(3.0), epsilon=2.0), epsilon=2.0)),
        ("delta_total", replace(TERMS, plan=replace(plan_for(3.0), delta=1e-3), delta=1e-3)),
        (
            "minimum_noise_multiplier",
            replace(TERMS, plan=DpPlan((Release("train", "gaussian", 0.9),), 9.0, 1e-5), epsilon=9.0),
        ),
    ],
)
def test_each_rule_refuses(rule: str, terms: StudyTerms) -> None:
    found = refusal(terms)
    assert found.rule == rule
    assert found.exit_code == 1
    assert found.asked
    assert found.limit


@pytest.mark.threat("FL-16", control="C-POLICY")
def test_a_study_beyond_the_budget_is_refused_with_exit_code_4() -> None:
    found = refusal(asking(3.01))
    assert (found.rule, found.exit_code) == ("epsilon_total", 4)
    assert "3.01" in found.asked
    assert "3 " in found.limit
    assert found.spent == "epsilon 0"


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_what_other_studies_spent_counts() -> None:
    earlier = history(("RESERVE", 1), ("SPENT", 1), ("RESERVE", 2), study="cd" * 32)
    found = refusal(TERMS, earlier)
    assert found.exit_code == 4
    assert found.spent.startswith("epsilon 1.2")
    check(POLICY, asking(1.0), earlier, NOW)


def test_later_studies_are_admitted_by_the_filter_not_by_the_exact_account() -> None:
    earlier = history(("RESERVE", 1), study="cd" * 32)
    mu = sqrt(gdp_mu(3.0, 1e-5) ** 2 - STEP.accounted_multiplier() ** -2)
    # This study would fill the exact budget to the brim; the filter, which adaptive plans need, says no.
    brim = DpPlan((Release("train", "gaussian", (1 + 1e-9) / mu),), 2.9, 1e-5)
    terms = replace(TERMS, plan=brim, epsilon=2.9)
    found = refusal(terms, earlier)
    assert found.exit_code == 4
    total = (STEP, *brim.releases)
    by_filter = renyi_epsilon(total, 1e-5, filter_order(POLICY))
    assert by_filter > 3.0
    # Both figures stand in one sentence, with what tells them apart.
    exact = spent(total, 1e-5).number()
    assert f"epsilon {rounded_up(by_filter, 4)} in all by the filter, which holds also where" in str(found)
    assert f"the exact composition, in which spent is counted, says {rounded_up(exact, 4)}" in str(found)
    assert f"{rounded_up(by_filter, 4)}" != f"{rounded_up(exact, 4)}"


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_one_study_id_is_one_agreement() -> None:
    again = history(("RESERVE", 1), study="cd" * 32)
    found = refusal(replace(asking(0.1), study_id="demo"), again)
    assert (found.rule, found.exit_code) == ("study_id", 1)
    check(POLICY, asking(0.1), again, NOW)
    # What released nothing binds nobody.
    note = history(("NOTE", 0), study="cd" * 32)
    check(POLICY, replace(TERMS, study_id="demo"), note, NOW)


def test_epsilons_are_never_added() -> None:
    earlier = history(
        ("RESERVE", 1), release=replace(plan_for(2.0).releases[0], steps=ROUNDS), study="cd" * 32
    )
    permit = check(POLICY.model_copy(update={"epsilon_total": 3.9}), asking(2.0), earlier, NOW)
    assert permit.after.number() < permit.filter_epsilon < 3.9 < 4.0


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_resumed_study_is_charged_once_over_all_its_sessions() -> None:
    resumed = history(("RESERVE", 1), ("SPENT", 1), ("RESERVE", 2))
    assert check(POLICY, TERMS, resumed, NOW).after.number() == pytest.approx(3.0, rel=1e-6)
    # The same releases under another study's hash are somebody else's and count beside the plan.
    foreign = history(("RESERVE", 1), ("SPENT", 1), ("RESERVE", 2), study="cd" * 32)
    assert refusal(TERMS, foreign).exit_code == 4


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_rounds_beyond_the_plan_are_refused() -> None:
    done = history(*((kind, number) for number in range(1, ROUNDS + 1) for kind in ("RESERVE", "SPENT")))
    with pytest.raises(PolicyRefusal) as caught:
        check_round(POLICY, TERMS, done, STEP, NOW, ALL)
    assert caught.value.exit_code == 4


def test_too_many_aborted_rounds_stop_a_study() -> None:
    twice = history(("RESERVE", 1), ("ABORT", 1), ("RESERVE", 2), ("ABORT", 2))
    assert refusal(asking(0.1), twice).rule == "aborted_rounds_maximum"
    with pytest.raises(PolicyRefusal, match="aborted_rounds_maximum"):
        check_round(POLICY, TERMS, twice, STEP, NOW)


@pytest.mark.parametrize("when", [datetime(2027, 1, 1, tzinfo=UTC)])
def test_an_expired_policy_permits_nothing(when: datetime) -> None:
    for act in (lambda: check(POLICY, TERMS, (), when), lambda: check_round(POLICY, TERMS, (), STEP, when)):
        with pytest.raises(PolicyRefusal, match=r"expires: .*look at it again$"):
            act()


def test_mode_none_is_permitted_only_openly() -> None:
    terms = replace(TERMS, mode="none", plan=None, epsilon=None, delta=None)
    open_policy = POLICY.model_copy(update={"allow_mode_none": True})
    assert check(open_policy, terms, (), NOW).after.number() == 0
    with pytest.raises(PolicyRefusal):
        check_round(open_policy, terms, (), STEP, NOW)
    with pytest.raises(PolicyRefusal):
        check_round(open_policy, TERMS, (), None, NOW)
    # Every round is looked at in this mode too.
    check_round(open_policy, terms, (), None, NOW)
    with pytest.raises(PolicyRefusal, match="expires"):
        check_round(open_policy, terms, (), None, datetime(2027, 1, 1, tzinfo=UTC))
    with pytest.raises(PolicyRefusal, match="aborted_rounds_maximum"):
        check_round(open_policy, terms, history(("NOTE", 1), ("NOTE", 2), ("NOTE", 3)), None, NOW)


def test_every_round_of_the_plan_is_permitted_and_none_beyond_it() -> None:
    entries = history(*((kind, number) for number in range(1, ROUNDS) for kind in ("RESERVE", "SPENT")))
    check_round(POLICY, TERMS, entries, STEP, NOW, ALL)
    full = history(*(("RESERVE", number) for number in range(1, ROUNDS + 1)))
    with pytest.raises(PolicyRefusal) as caught:
        check_round(POLICY.model_copy(update={"epsilon_total": 9.0}), TERMS, full, STEP, NOW, ALL)
    # Room in the hospital's total does not stretch what the study promised.
    assert (caught.value.rule, caught.value.exit_code) == ("plan", 4)


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_round_beside_another_study_is_held_to_the_filter() -> None:
    full = history(*(("RESERVE", number) for number in range(1, ROUNDS + 1)), study="cd" * 32)
    check_round(POLICY, TERMS, (), STEP, NOW)
    with pytest.raises(PolicyRefusal, match="by the filter") as caught:
        check_round(POLICY, TERMS, full, STEP, NOW)
    assert (caught.value.rule, caught.value.exit_code) == ("epsilon_total", 4)


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_round_without_a_receipt_is_lost_whether_or_not_anybody_says_so() -> None:
    begun = history(("RESERVE", 1), ("SPENT", 1), ("RESERVE", 2), ("RESERVE", 3))
    check_round(POLICY, TERMS, begun, STEP, NOW, {1})
    with pytest.raises(PolicyRefusal, match="2 rounds without a receipt"):
        check_round(POLICY, TERMS, begun, STEP, NOW)


@pytest.mark.parametrize(
    "other", [replace(STEP, noise_multiplier=1.0), replace(STEP, clip_l2=2.0), replace(STEP, steps=3)]
)
def test_a_round_may_not_differ_from_the_plan(other: Release) -> None:
    with pytest.raises(PolicyRefusal) as caught:
        check_round(POLICY, TERMS, (), other, NOW)
    assert caught.value.rule == "plan"


def test_any_purpose_may_be_permitted() -> None:
    check(POLICY.model_copy(update={"purposes": ("*",)}), replace(TERMS, purpose="Anything"), (), NOW)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("epsilon_total", "epsilon_totall", "did you mean 'epsilon_total'"),
        ("epsilon_total = 3.0", "", "epsilon_total"),
        ("epsilon_total = 3.0", 'epsilon_total = "3"', "epsilon_total"),
        ("epsilon_total = 3.0", "epsilon_total = -3.0", "epsilon_total"),
        ("epsilon_total = 3.0", "epsilon_total = inf", "epsilon_total"),
        ("delta_total = 1e-5", "delta_total = 1.0", "delta_total"),
        ("minimum_threshold = 3", "minimum_threshold = 1", "minimum_threshold"),
        ('modes = ["local", "none"]', 'modes = ["locale"]', "modes"),
        ("expires = 2026-12-31", 'expires = "soon"', "expires"),
        ("expires = 2026-12-31", "expires = ", "TOML"),
        ("expires = 2026-12-31", "", "lacks expires; deploy/actg175_policy.toml has every key"),
    ],
)
def test_a_policy_file_is_read_strictly(old: str, new: str, says: str) -> None:
    with pytest.raises(PolicyFileError, match=says) as caught:
        parse_policy(TEXT.replace(old, new, 1), "policy.toml")
    assert str(caught.value).startswith("policy.toml: ")
    assert caught.value.exit_code == 2


FIELDS = (("age", "prognostic"), ("arm", "treatment"))


@pytest.mark.parametrize(
    ("table", "refused"),
    [
        ("", ""),
        ('field_purposes = {age = ["prognostic"], arm = ["treatment"], weight = ["*"]}', ""),
        ('field_purposes = {age = ["prognostic"], "*" = ["*"]}', ""),
        ('field_purposes = {age = ["*"]}', "'arm' for 'treatment'"),
        ('field_purposes = {age = ["marketing"], arm = ["*"]}', "'age' for 'prognostic'"),
        ('field_purposes = {age = [], "*" = ["*"]}', "'age' for 'prognostic'"),
    ],
)
def test_a_field_is_given_for_its_purposes_only(table: str, refused: str) -> None:
    policy = parse_policy(TEXT + table, "policy.toml")
    terms = replace(TERMS, fields=FIELDS)
    if not refused:
        check(policy, terms, (), NOW)
        return
    with pytest.raises(PolicyRefusal) as caught:
        check(policy, terms, (), NOW)
    assert (caught.value.rule, caught.value.exit_code) == ("field_purposes", 1)
    assert refused in caught.value.asked


def test_a_register_needs_a_purpose_that_it_can_be_asked_for() -> None:
    policy = parse_policy(TEXT + "consent_register = true", "policy.toml")
    with pytest.raises(PolicyRefusal, match="consent_register"):
        check(policy, TERMS, (), NOW)
    check(policy, replace(TERMS, duo="DUO:0000006"), (), NOW)

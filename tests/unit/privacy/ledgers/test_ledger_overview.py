"""The ledger as its owner reads it, and the epochs whose budgets are separate."""

from dataclasses import replace
from typing import Any

import pytest

from privacy.guarantees.accounting import spent
from privacy.guarantees.composition import gdp_epsilon
from privacy.guarantees.plan import Charge
from privacy.guarantees.release import Release
from privacy.guarantees.stage_release import ThresholdRelease
from privacy.ledgers.data_epoch import check_new, epoch_name, epoch_note, in_epoch
from privacy.ledgers.drawn_before import reuse_note
from privacy.ledgers.ledger import ENTRY_LABEL, GENESIS, Entry, EntryKind, Ledger, Record
from privacy.ledgers.ledger_overview import overview
from privacy.ledgers.policy import PolicyRefusal, check, check_round
from privacy.synthesis.charges import DerivedRelease, SynthesisRelease
from secagg.identity import sign
from tests.unit.privacy.ledgers.test_policy import NOW, POLICY, ROUNDS, SEED, STEP, TERMS, asking, plan_for

FIRST, SECOND = "aa" * 32, "bb" * 32
WIDE = POLICY.model_copy(update={"epsilon_total": 9.0})


def chain(*steps: tuple[Any, str, int]) -> tuple[Entry, ...]:
    """(kind or epoch's name, study, round)."""
    ledger = Ledger()
    for kind, study, number in steps:
        if kind in ("RESERVE", "SPENT", "ABORT", "NOTE", "CLOSE"):
            paid = STEP if kind in ("RESERVE", "SPENT") else None
            record = Record(kind, "2026-01-01T00:00:00Z", study, study[:2], "01" * 16, number, paid)
        else:
            record = Record("NOTE", "2026-02-01T00:00:00Z", GENESIS, "", "", 0, None, epoch_note(kind))
        ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
    return ledger.entries


def rounds(study: str, count: int) -> list[tuple[str, str, int]]:
    return [(kind, study, number) for number in range(1, count + 1) for kind in ("RESERVE", "SPENT")]


MU = 1 / STEP.accounted_multiplier()


def test_studies_add_up_in_the_order_in_which_they_began() -> None:
    entries = chain(*rounds(FIRST, 4), ("CLOSE", FIRST, 0), *rounds(SECOND, 2), ("ABORT", SECOND, 2))
    shown = overview(entries, WIDE)
    assert [(line.study_id, line.charged, line.aborted, line.closed) for line in shown.studies] == [
        ("aa", 4, 0, True),
        ("bb", 2, 1, False),
    ]
    figures = [line.cumulative.number() for line in shown.studies]
    assert figures == pytest.approx([gdp_epsilon(MU * n**0.5, 1e-5) for n in (4, 6)], rel=1e-9)
    assert shown.total.number() == shown.ever.number() == figures[-1]
    # The exact account is below the filter, and both are below the sum of epsilons at shares of the same delta.
    alone = sum(gdp_epsilon(MU * n**0.5, 1e-5 / 2) for n in (4, 2))
    assert shown.added == pytest.approx(alone, rel=1e-9)
    assert shown.total.number() < shown.filter_epsilon
    assert shown.total.number() < shown.added
    assert dict(shown.curve)[1e-5] == shown.total.number()


def test_one_more_study_of_the_same_size_is_the_latest_one_again() -> None:
    shown = overview(chain(*rounds(FIRST, 4), *rounds(SECOND, 2)), WIDE)
    more = shown.one_more
    assert more is not None
    assert more.like == "bb"
    assert more.after.number() == pytest.approx(gdp_epsilon(MU * 8**0.5, 1e-5), rel=1e-9)
    assert more.fits
    tight = WIDE.model_copy(update={"epsilon_total": 2.4})
    full = overview(chain(*rounds(FIRST, 4), *rounds(SECOND, 2)), tight).one_more
    assert full is not None
    # The exact account would have room, and the filter, which decides, has none.
    assert full.after.number() < full.filter_epsilon
    assert full.fits is (full.filter_epsilon <= 2.4)


def test_an_empty_ledger_and_one_without_noise_have_nothing_to_add_up() -> None:
    empty = overview((), POLICY)
    assert (empty.studies, empty.total.number(), empty.one_more) == ((), 0.0, None)
    noted = overview(chain(("NOTE", FIRST, 1), ("NOTE", FIRST, 2)), POLICY)
    assert [line.without_noise for line in noted.studies] == [2]
    assert noted.one_more is None


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_exact_sums_leave_no_number_for_all_studies_together() -> None:
    entries = chain(*rounds(SECOND, 2), ("NOTE", FIRST, 1), ("CLOSE", FIRST, 0), *rounds("cc" * 32, 1))
    shown = overview(entries, WIDE)
    kinds = [(line.alone.kind, line.cumulative.kind) for line in shown.studies]
    assert kinds == [("dp", "dp"), ("none", "none"), ("dp", "none")]
    assert shown.total.epsilon is shown.ever.epsilon is shown.added is None
    assert shown.total.reason.startswith("aa: sums were released without noise")
    assert shown.curve == ()
    assert shown.one_more is not None
    assert (shown.one_more.after.kind, shown.one_more.fits) == ("none", True)
    permit = check(WIDE, TERMS, entries, NOW)
    assert permit.before.kind == permit.after.kind == "none"
    # The people of a new table were in none of it.
    apart = chain(("NOTE", FIRST, 1), ("2027 extract", "", 0), *rounds(SECOND, 2))
    assert (overview(apart, WIDE).total.kind, overview(apart, WIDE).ever.kind) == ("dp", "none")


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_new_epoch_has_its_own_budget_and_forgets_nothing() -> None:
    entries = chain(*rounds(FIRST, ROUNDS), ("2027 extract", "", 0))
    assert epoch_name(entries) == "2027 extract"
    assert in_epoch(entries) == ()
    policy = POLICY.model_copy(update={"data_epoch": "2027 extract"})
    assert check(policy, TERMS, entries, NOW).before.number() == 0
    check_round(policy, TERMS, entries, STEP, NOW)
    shown = overview(entries, policy)
    assert shown.total.number() == 0
    assert shown.ever.number() == pytest.approx(3.0, rel=1e-6)
    # Without the statement there is no room, and a policy about another table than the ledger's permits nothing.
    with pytest.raises(PolicyRefusal) as caught:
        check(POLICY, TERMS, chain(*rounds(FIRST, ROUNDS)), NOW)
    assert (caught.value.rule, caught.value.exit_code) == ("epsilon_total", 4)
    for wrong, ledger in ((POLICY, entries), (policy, chain(*rounds(FIRST, 1)))):
        with pytest.raises(PolicyRefusal, match="data_epoch"):
            check(wrong, TERMS, ledger, NOW)
        with pytest.raises(PolicyRefusal, match="data_epoch"):
            check_round(wrong, TERMS, ledger, STEP, NOW)


def test_a_study_stays_within_one_epoch() -> None:
    entries = chain(*rounds(TERMS.study_hash, 1), ("2027", "", 0))
    policy = POLICY.model_copy(update={"data_epoch": "2027"})
    terms = replace(TERMS, study_id=TERMS.study_hash[:2])
    with pytest.raises(PolicyRefusal, match="begun in an earlier epoch"):
        check(policy, terms, entries, NOW)


@pytest.mark.threat("FL-15", control="C-LEDGER")
@pytest.mark.parametrize("late", ["SPENT", "ABORT"])
def test_the_late_end_of_an_earlier_epochs_round_stops_no_later_study(late: str) -> None:
    # A node was at work when the epoch began; whoever coordinates decides when the abort comes.
    entries = chain(*rounds(FIRST, 1), ("RESERVE", FIRST, 2), ("2027", "", 0), (late, FIRST, 2))
    policy = POLICY.model_copy(update={"data_epoch": "2027"})
    assert check(policy, TERMS, entries, NOW).before.number() == 0
    check_round(policy, TERMS, entries, STEP, NOW)
    shown = overview(entries, policy)
    assert shown.total.number() == 0
    assert shown.ever.number() == pytest.approx(gdp_epsilon(MU * 2**0.5, 1e-5), rel=1e-9)


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_an_epochs_name_gives_no_second_budget() -> None:
    for names in (("2027", "2027"), ("2027", "2028", "2027")):
        begun = [(name, "", 0) for name in names]
        entries = chain(begun[0], *rounds(FIRST, ROUNDS), *begun[1:])
        policy = POLICY.model_copy(update={"data_epoch": "2027"})
        with pytest.raises(PolicyRefusal):
            check(policy, TERMS, entries, NOW)
    with pytest.raises(ValueError, match="was begun before"):
        check_new(entries, "2028")
    check_new(entries, "2029")


@pytest.mark.parametrize("name", ["", "a" * 41, "it's", "line\nbreak", "é"])
def test_epochs_have_plain_names(name: str) -> None:
    with pytest.raises(ValueError, match="name"):
        epoch_note(name)


def test_a_note_that_only_resembles_an_epoch_begins_none() -> None:
    ledger = Ledger()
    for text, study in ((epoch_note("x") + " ", GENESIS), (epoch_note("x"), FIRST)):
        record = Record("NOTE", "2026-01-01T00:00:00Z", study, "s", "", 0, None, text)
        ledger = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body))
    assert epoch_name(ledger.entries) == ""


@pytest.mark.threat("FL-16", control="C-POLICY")
def test_a_policy_may_hold_each_study_to_a_ceiling() -> None:
    capped = POLICY.model_copy(update={"epsilon_study": 1.0})
    check(capped, asking(1.0), (), NOW)
    with pytest.raises(PolicyRefusal) as caught:
        check(capped, asking(1.5), (), NOW)
    assert (caught.value.rule, caught.value.exit_code) == ("epsilon_study", 1)
    assert plan_for(1.5).epsilon == 1.5


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_a_study_alone_costs_the_drawing_that_another_study_paid() -> None:
    stage, noisy = ThresholdRelease(0.5, 1e-6, 5, "ab" * 32), Release("train", "gaussian", 4.0)
    private = SynthesisRelease(1.0, 1e-6, "ef" * 32, (20.0, 8.0, 13.0, 10.0))
    entries = Ledger()

    def add(
        kind: EntryKind, study: str, session: str, number: int, release: Charge | None, note: str = ""
    ) -> None:
        nonlocal entries
        record = Record(kind, "2031-05-06T07:08:09Z", study, study[:2], session, number, release, note)
        entries = entries.append(record, lambda body: bytes(64))

    for drawing, study in ((stage, "aa" * 32), (private, "dd" * 32)):
        for kind in ("RESERVE", "SPENT"):
            add(kind, study, "stage", 0, drawing)
    for study, note in (("bb" * 32, reuse_note(stage)), ("cc" * 32, ""), ("ee" * 32, reuse_note(private))):
        if note:
            add("NOTE", study, "stage", 0, None, note)
        add("RESERVE", study, "s", 1, DerivedRelease("train", private) if study[0] == "e" else noisy)
    lines = {line.study_id: line for line in overview(entries.entries, POLICY).studies}
    alone = spent((noisy,), POLICY.delta_total).number()
    assert lines["cc"].alone.number() == pytest.approx(alone)
    assert lines["bb"].alone.number() == pytest.approx(
        spent((stage, noisy), POLICY.delta_total).number(), abs=1e-9
    )
    assert lines["bb"].alone.number() > alone + 0.5
    assert lines["ee"].alone.number() == pytest.approx(spent((private,), POLICY.delta_total).number())
    # All of them together pay each drawing once.
    assert lines["ee"].cumulative.number() == pytest.approx(
        spent((stage, private, noisy, noisy), POLICY.delta_total).number()
    )

"""Claims about budgets and data epochs: what each epoch's patients lost against the hospital's budget, and what says that epochs have other patients."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment.evidence import BUDGETS, LEDGERS, Budget, Evidence
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.recompute_ledgers import EPSILON_TOLERANCE, LedgerFacts
from privacy.assessment.statements import attested, failed, gap, stated
from privacy.guarantees.remembered import epsilon
from privacy.ledgers.charges import charged, without_noise
from privacy.ledgers.data_epoch import by_epoch, epoch_name, is_compared

SECTION = "evidence"
THREATS = ("FL-15", "FL-31")


def budgets(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """Cumulative loss in each data epoch against the hospital's own budget, where the bundle knows it.

    A budget is about the patients of one epoch, at the policy's delta; that is how the hospital's node asks it.
    """
    if evidence.agreement is None or evidence.agreement.study.delta is None:
        return
    over: list[str] = []
    unbounded = [
        item.hospital for item in facts.ledgers if not item.problem and item.epsilon_cumulative is None
    ]
    for ledger in facts.ledgers:
        budget = evidence.budgets.get(ledger.hospital)
        if ledger.problem or budget is None:
            continue
        beyond, unknown = _beyond(ledger, budget)
        over += [f"{ledger.hospital}{f' (data epoch {name!r})' if name else ''}" for name in beyond]
        if unknown and ledger.hospital not in unbounded:
            unbounded.append(ledger.hospital)
    without = [ledger.hospital for ledger in facts.ledgers if ledger.hospital not in evidence.budgets]
    if over:
        text = f"More was spent over all studies than the budget allows at {', '.join(over)}."
        yield failed("E-BUDGET", SECTION, text, (BUDGETS, LEDGERS), THREATS)
    elif unbounded:
        text = f"Nothing bounds all studies together at this delta at {', '.join(unbounded)}."
        note = "A study or a stage without guarantee ran there, or stages alone spend this study's delta."
        yield gap("E-BUDGET", SECTION, text, note, THREATS)
    elif without:
        text = f"The budget of {', '.join(without)} is not in the bundle; it stays in the hospital's policy file."
        yield gap("E-BUDGET", SECTION, text, "The hospital's node checks it before data is read.", THREATS)
    elif any(ledger.epsilon_cumulative is not None for ledger in facts.ledgers):
        yield stated(
            "E-BUDGET",
            SECTION,
            "Over all studies in the ledgers, no hospital in the bundle has spent more in a data epoch than its own budget.",
            (BUDGETS,),
            "Budgets are in the bundle as somebody told them: no hospital signed them. Analyses outside this system are not in any ledger.",
            THREATS,
        )


def _beyond(ledger: LedgerFacts, budget: Budget) -> tuple[list[str], bool]:
    """The epochs whose charges exceed the budget, and whether one has no number; what an open ledger does not show yet only adds."""
    beyond, unknown = [], False
    for name, entries in by_epoch(ledger.entries):
        spent = epsilon(charged(entries), budget.delta_total)
        if spent is None or without_noise(entries):
            unknown = True
        if spent is not None and spent > budget.epsilon_total + EPSILON_TOLERANCE:
            beyond.append(name)
    return beyond, unknown


def data_epochs(facts: Facts) -> Iterator[Claim]:
    """One claim where a ledger names an epoch; the figures of this assessment add up all epochs in any case."""
    named = [ledger for ledger in facts.ledgers if not ledger.problem and epoch_name(ledger.entries)]
    if not named:
        return
    word = ", ".join(ledger.hospital for ledger in named if not is_compared(ledger.entries))
    if word:
        yield stated(
            "E-EPOCH",
            SECTION,
            f"The budget was asked per data epoch; that nobody is in two epochs is the word of {word} alone.",
            (LEDGERS,),
            "No ids were compared there. A patient in two epochs has the budget twice; cumulative figures here add up all epochs.",
            THREATS,
        )
    else:
        yield attested(
            "E-EPOCH",
            SECTION,
            f"The budget was asked per data epoch at {', '.join(ledger.hospital for ledger in named)}; no id of the present table is in an earlier one.",
            (LEDGERS,),
            "The hospital's node compared the ids; a patient under two ids is not found. Cumulative figures here add up all epochs.",
            THREATS,
        )

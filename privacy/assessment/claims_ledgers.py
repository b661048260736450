"""Claims about the hospitals' ledgers: each chain, what all of them charged, and each hospital's own budget."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment.claims_dp import evidence_delta
from privacy.assessment.claims_epochs import data_epochs
from privacy.assessment.evidence import AGREEMENT, BUDGETS, LEDGERS, Evidence
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.recompute_ledgers import EPSILON_TOLERANCE, LedgerFacts, noise_problem
from privacy.assessment.statements import attested, failed, gap, stated, verified

SECTION = "evidence"


def ledgers(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """One claim a hospital on its chain, one on what all of them charged."""
    agreement = evidence.agreement
    for ledger in facts.ledgers:
        yield _chain(ledger, charges=agreement is not None and agreement.plan is not None)
    if agreement is None or not facts.ledgers:
        return
    wrong = [
        f"{ledger.hospital}: {problem}"
        for ledger in facts.ledgers
        if not ledger.problem and (problem := noise_problem(ledger, agreement))
    ]
    readable = any(not ledger.problem for ledger in facts.ledgers)
    if wrong:
        text = f"Ledgers charge something else than the plan: {'; '.join(wrong)}."
        yield failed("E-PLAN", SECTION, text, (AGREEMENT, LEDGERS), ("FL-29", "FL-16"))
    elif readable:
        yield verified(
            "E-PLAN",
            SECTION,
            "Every charge in the ledgers is a release of the agreed plan, with the agreed noise, sampling and clip.",
            (AGREEMENT, LEDGERS),
            "It shows what was charged. That the noise drawn was the noise charged is attested by the hospital.",
            ("FL-29", "FL-16"),
        )
    yield from _budgets(evidence, facts)
    yield from data_epochs(facts)


def _chain(ledger: LedgerFacts, *, charges: bool) -> Claim:
    identifier, path = f"E-LEDGER-{ledger.hospital}", f"{LEDGERS}{ledger.hospital}.jsonl"
    if ledger.problem == "missing":
        text = f"The ledger of {ledger.hospital} is not in the bundle."
        return gap(
            identifier,
            SECTION,
            text,
            "The plan bounds what this hospital's patients lost."
            if charges
            else "Its notes of rounds are not shown.",
            ("FL-15", "FL-35"),
        )
    if ledger.problem:
        text = f"The ledger of {ledger.hospital} does not verify: {ledger.problem}."
        return failed(identifier, SECTION, text, (path,), ("FL-35",))
    if not ledger.final:
        return gap(
            identifier,
            SECTION,
            f"The ledger of {ledger.hospital} verifies and does not close this study: it was exported before the end, "
            "and what was charged later is not in it.",
            "The plan bounds what this hospital's patients lost."
            if charges
            else "Later rounds are not shown.",
            ("FL-15", "FL-35"),
        )
    return attested(
        identifier,
        SECTION,
        f"The ledger of {ledger.hospital} is complete to its signed end and closes this study: {len(ledger.entries)} entries, chained "
        f"and signed; {len(ledger.run)} releases charged to this study, {ledger.reserved_only} of them reserved and never sent.",
        (path,),
        "Only the hospital knows what it released. A hospital could keep two chains.",
        ("FL-15", "FL-22", "FL-35"),
    )


def _budgets(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """Cumulative loss against the hospital's own budget, where the bundle knows it."""
    delta = evidence_delta(evidence)
    if delta is None:
        return
    known = [ledger for ledger in facts.ledgers if ledger.epsilon_cumulative is not None]
    over = [
        ledger.hospital
        for ledger in known
        if ledger.hospital in evidence.budgets
        and (ledger.epsilon_cumulative or 0.0)
        > evidence.budgets[ledger.hospital].epsilon_total + EPSILON_TOLERANCE
    ]
    without = [ledger.hospital for ledger in facts.ledgers if ledger.hospital not in evidence.budgets]
    unbounded = [
        ledger.hospital
        for ledger in facts.ledgers
        if not ledger.problem and ledger.epsilon_cumulative is None
    ]
    if unbounded:
        text = f"Nothing bounds all studies together at this delta at {', '.join(unbounded)}."
        note = "A study or a stage without guarantee ran there, or stages alone spend this study's delta."
        yield gap("E-BUDGET", SECTION, text, note, ("FL-15", "FL-31"))
    elif over:
        text = f"More was spent over all studies than the budget allows at {', '.join(over)}."
        yield failed("E-BUDGET", SECTION, text, (BUDGETS,), ("FL-15", "FL-31"))
    elif without:
        text = f"The budget of {', '.join(without)} is not in the bundle; it stays in the hospital's policy file."
        yield gap(
            "E-BUDGET",
            SECTION,
            text,
            "The hospital's node checks it before data is read.",
            ("FL-15", "FL-31"),
        )
    elif known:
        yield stated(
            "E-BUDGET",
            SECTION,
            "Over all studies in the ledgers, no hospital in the bundle has spent more than its own budget.",
            (BUDGETS,),
            "Budgets are in the bundle as somebody told them: no hospital signed them. Analyses outside this system are not in any ledger.",
            ("FL-15", "FL-31"),
        )

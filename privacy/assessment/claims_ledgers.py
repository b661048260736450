"""Claims about the hospitals' ledgers: each chain, what all of them charged, and each hospital's own budget."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment.claims_epochs import budgets, data_epochs
from privacy.assessment.evidence import AGREEMENT, LEDGERS, Evidence
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.recompute_ledgers import LedgerFacts, noise_problem
from privacy.assessment.statements import attested, failed, gap, verified

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
    yield from budgets(evidence, facts)
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

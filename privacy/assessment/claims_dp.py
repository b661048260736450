"""Claims about the guarantee: the end-to-end number, the agreed one, and the printed ones."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment.evidence import AGREEMENT, LEDGERS, RESULT, Evidence, StatedHospital
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts, no_guarantee_reason
from privacy.assessment.recompute_ledgers import EPSILON_TOLERANCE
from privacy.assessment.statements import (
    failed,
    gap,
    undefined,
    verified,
)
from privacy.guarantees.guarantee import rounded_up
from privacy.guarantees.pricing import seen_with_shares
from privacy.studies.agreement import Agreement

SECTION = "evidence"


def digits(value: float) -> str:
    """Four significant digits, rounded up, as a bound is."""
    mantissa, e, exponent = rounded_up(value, 4).partition("e")
    return f"{mantissa}e{int(exponent)}" if e else mantissa


def bound(epsilon: float, delta: float) -> str:
    """A number with everything that gives it meaning."""
    return f"epsilon {digits(epsilon)} at delta {digits(delta)} (unit: patient; adjacency: add/remove)"


def void_reason(evidence: Evidence) -> str:
    """Why this run has no formal guarantee; "" where it can have one."""
    if evidence.agreement is None:
        return "The study agreement is not in the bundle or cannot be read, so nothing is known about noise."
    study = evidence.agreement.study
    reason = no_guarantee_reason(study.mode, study.stage.kind)
    if not reason and evidence.result is not None and evidence.result.guarantee.kind == "none":
        reason = "The result file states that there is none; its reason stands in evidence/result.json."
    return reason


def guarantee(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """The end-to-end number, and whether the result prints the same one."""
    reason = void_reason(evidence)
    threats = ("FL-01", "FL-02", "FL-23", "FL-29")
    if reason or evidence.agreement is None:
        yield undefined(
            "E-GUARANTEE", SECTION, f"No end-to-end guarantee for a patient. {reason}", (AGREEMENT,), threats
        )
        return
    delta, most = evidence.agreement.study.delta, facts.guaranteed
    if most is None or delta is None:
        yield gap("E-GUARANTEE", SECTION, "The study has no plan that could bound it.", threats=threats)
        return
    if facts.unaccounted:
        yield gap(
            "E-GUARANTEE",
            SECTION,
            f"{', '.join(facts.unaccounted)} gave no ledger that verifies and closes this study, so what it charged is not known. "
            f"For its patients there is the bound that its node enforces, the study's plan: {bound(most, delta)}.{_shown(facts, delta)}",
            "The plan's number is a setting that each hospital's node holds to; here nothing shows that it did.",
            threats,
        )
    else:
        yield verified(
            "E-GUARANTEE",
            SECTION,
            f"Everything that the run released about one patient of one hospital is within {bound(most, delta)}, "
            "recomputed from the charges in the signed ledgers, all of which close the study.",
            (AGREEMENT, LEDGERS),
            "The arithmetic is verified, the noise itself is what hospitals attest. It assumes that a patient is in one hospital, "
            f"that hospitals run this code, and sound random numbers.{_shares_detail(evidence.agreement)}{_rows_detail(evidence.agreement)}",
            threats,
        )
    yield _within_agreed(evidence.agreement, facts)
    yield _result_agrees(evidence, facts, most)


def _rows_detail(agreement: Agreement) -> str:
    """What a study without an identifier assumes beyond that."""
    rows = agreement.study.row_assumption
    return f" It assumes that {rows}." if rows else ""


def _shares_detail(agreement: Agreement) -> str:
    """What mode distributed assumes beyond that, and what is left where it is false."""
    if agreement.plan is None or agreement.study.noise_shares == 1:
        return ""
    alone = seen_with_shares(agreement.plan.charges, agreement.plan.delta, 1, "").number()
    return (
        f" Each hospital adds a share of the noise: the number is for a coordinator with at most {agreement.colluding} colluding hospitals "
        f"and holds while secure aggregation does; were it broken, one hospital's vectors alone would give {bound(alone, agreement.plan.delta)}."
    )


def _shown(facts: Facts, delta: float) -> str:
    """What the closed ledgers do show, as a sentence."""
    known = [ledger for ledger in facts.ledgers if ledger.epsilon_run is not None]
    if not known:
        return ""
    most = max(ledger.epsilon_run or 0.0 for ledger in known)
    names = ", ".join(ledger.hospital for ledger in known)
    return f" The closed ledgers of {names} show at most {bound(most, delta)}."


def _within_agreed(agreement: Agreement, facts: Facts) -> Claim:
    epsilon, delta, worst = agreement.study.epsilon or 0.0, agreement.study.delta or 0.0, facts.worst
    agreed = bound(epsilon, delta)
    paths = (AGREEMENT, LEDGERS)
    if worst is None or worst.epsilon_shown is None:
        return gap("E-AGREED", SECTION, "No ledger in the bundle verifies: what was charged is unknown.")
    if worst.epsilon_shown > epsilon + EPSILON_TOLERANCE:
        return failed(
            "E-AGREED",
            SECTION,
            f"{worst.hospital} was charged {bound(worst.epsilon_shown, delta)}, more than the agreed {agreed}.",
            paths,
            ("FL-15",),
        )
    return verified(
        "E-AGREED",
        SECTION,
        f"No ledger in the bundle was charged more than the agreed {agreed}.",
        paths,
        "Ledgers that are not in the bundle, and what is charged after an open one, are not covered.",
        ("FL-15", "FL-16"),
    )


def _result_agrees(evidence: Evidence, facts: Facts, most: float) -> Claim:
    """Every printed epsilon against the recomputed one."""
    result = evidence.result
    if result is None:
        return gap("E-PRINTED", SECTION, "No readable result file: what the run printed cannot be compared.")
    pairs = [
        ("the run", result.guarantee.epsilon, most),
        ("the plan", result.guarantee_planned.epsilon, facts.planned),
    ]
    for ledger in facts.ledgers:
        said = result.per_hospital.get(ledger.hospital, StatedHospital())
        pairs.append((ledger.hospital, said.epsilon, ledger.epsilon_run))
        pairs.append(
            (f"{ledger.hospital} over all studies", said.epsilon_all_studies, ledger.epsilon_cumulative)
        )
    wrong = [name for name, said_epsilon, found in pairs if not _same(said_epsilon, found)]
    stated = result.guarantee
    if (stated.unit, stated.adjacency) != ("patient", "add/remove") or stated.delta != evidence_delta(
        evidence
    ):
        wrong.append("its unit, delta or adjacency")
    if wrong:
        text = f"The result prints another epsilon than ledgers and plan give, for {', '.join(wrong)}."
        return failed("E-PRINTED", SECTION, text, (RESULT,), ("FL-36",))
    return verified(
        "E-PRINTED",
        SECTION,
        "Every epsilon that the result prints equals the one recomputed from the ledgers, or from the plan where a ledger does not close the study.",
        (RESULT,),
        "Compared to nine decimals, with the same accountant.",
        ("FL-36",),
    )


def _same(said: float | None, found: float | None) -> bool:
    if said is None or found is None:
        return said is found
    return abs(said - found) <= EPSILON_TOLERANCE


def evidence_delta(evidence: Evidence) -> float | None:
    """The study's delta; None without an agreement or in mode none."""
    return evidence.agreement.study.delta if evidence.agreement else None

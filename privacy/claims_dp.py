"""Claims about differential privacy: the guarantee, the ledgers behind it, the stage in front of it."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.agreement import Agreement
from privacy.evidence import AGREEMENT, BUDGETS, LEDGERS, RESULT, Evidence
from privacy.pia_schema import Claim
from privacy.recompute import EPSILON_TOLERANCE, Facts, LedgerFacts, no_guarantee_reason, noise_problem
from privacy.stage_effect import Voids
from privacy.stage_release import ThresholdRelease
from privacy.statements import attested, failed, gap, not_applicable, not_tested, undefined, verified

SECTION = "evidence"


def digits(value: float) -> str:
    """Four significant digits, as on the page."""
    mantissa, e, exponent = f"{value:.4g}".partition("e")
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
    delta, worst = evidence.agreement.study.delta, facts.worst
    if worst is None or worst.epsilon_run is None or delta is None:
        yield gap(
            "E-GUARANTEE",
            SECTION,
            "No ledger in the bundle verifies: what the run cost a patient is unknown.",
            threats=threats,
        )
        return
    unknown = [ledger.hospital for ledger in facts.ledgers if ledger.epsilon_run is None]
    rest = (
        f" Unknown for {', '.join(unknown)}, whose ledger is not in the bundle or is broken."
        if unknown
        else ""
    )
    yield verified(
        "E-GUARANTEE",
        SECTION,
        f"Everything that the run released about one patient of one hospital is within {bound(worst.epsilon_run, delta)}, "
        f"recomputed from the charges in the signed ledgers.{rest}",
        (AGREEMENT, f"{LEDGERS}{worst.hospital}.jsonl"),
        "The arithmetic is verified, the noise itself is what hospitals attest. It assumes that a patient is in one hospital, "
        "that hospitals run this code, and sound random numbers.",
        threats,
    )
    yield _within_agreed(evidence.agreement, facts, worst)
    yield _result_agrees(evidence, facts)


def _within_agreed(agreement: Agreement, facts: Facts, worst: LedgerFacts) -> Claim:
    epsilon, delta = agreement.study.epsilon or 0.0, agreement.study.delta or 0.0
    agreed = bound(epsilon, delta)
    paths = (AGREEMENT, LEDGERS)
    if worst.epsilon_run is not None and worst.epsilon_run > epsilon + EPSILON_TOLERANCE:
        return failed(
            "E-AGREED",
            SECTION,
            f"{worst.hospital} was charged {bound(worst.epsilon_run, delta)}, more than the agreed {agreed}.",
            paths,
            ("FL-15",),
        )
    return verified(
        "E-AGREED",
        SECTION,
        f"No ledger in the bundle was charged more than the agreed {agreed}.",
        paths,
        "Ledgers that are not in the bundle are not covered.",
        ("FL-15", "FL-16"),
    )


def _result_agrees(evidence: Evidence, facts: Facts) -> Claim:
    """The printed epsilon of the run and of each hospital against the recomputed ones."""
    result, worst = evidence.result, facts.worst
    if result is None or worst is None or worst.epsilon_run is None:
        return gap("E-PRINTED", SECTION, "No readable result file: what the run printed cannot be compared.")
    wrong: list[str] = []
    stated = result.guarantee
    if stated.epsilon is None or abs(stated.epsilon - worst.epsilon_run) > EPSILON_TOLERANCE:
        wrong.append("the run")
    for ledger in facts.ledgers:
        said = result.per_hospital.get(ledger.hospital)
        if ledger.epsilon_run is None or said is None or said.epsilon is None:
            continue
        if abs(said.epsilon - ledger.epsilon_run) > EPSILON_TOLERANCE:
            wrong.append(ledger.hospital)
    if (stated.unit, stated.adjacency) != ("patient", "add/remove") or stated.delta != evidence_delta(
        evidence
    ):
        wrong.append("its unit, delta or adjacency")
    if wrong:
        text = f"The result prints another epsilon than the ledgers give, for {', '.join(wrong)}."
        return failed("E-PRINTED", SECTION, text, (RESULT,), ("FL-36",))
    return verified(
        "E-PRINTED",
        SECTION,
        "Every epsilon that the result prints equals the one recomputed from the ledgers.",
        (RESULT,),
        "Compared to nine decimals, with the same accountant.",
        ("FL-36",),
    )


def evidence_delta(evidence: Evidence) -> float | None:
    """The study's delta; None without an agreement or in mode none."""
    return evidence.agreement.study.delta if evidence.agreement else None


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


def _chain(ledger: LedgerFacts, *, charges: bool) -> Claim:
    identifier, path = f"E-LEDGER-{ledger.hospital}", f"{LEDGERS}{ledger.hospital}.jsonl"
    if ledger.problem == "missing":
        text = f"The ledger of {ledger.hospital} is not in the bundle."
        if not charges:
            return not_applicable(identifier, SECTION, text, "Nothing is charged in mode none.")
        return gap(
            identifier,
            SECTION,
            text,
            "What this hospital's patients lost is unknown here.",
            ("FL-15", "FL-35"),
        )
    if ledger.problem:
        text = f"The ledger of {ledger.hospital} does not verify: {ledger.problem}."
        return failed(identifier, SECTION, text, (path,), ("FL-35",))
    return attested(
        identifier,
        SECTION,
        f"The ledger of {ledger.hospital} is complete to its signed end: {len(ledger.entries)} entries, chained and signed; "
        f"{len(ledger.run)} releases charged to this study, {ledger.reserved_only} of them reserved and never sent.",
        (path,),
        "Only the hospital knows what it released. A hospital could show an older end of its chain, or keep two.",
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
        note = "A stage without guarantee ran there, or stages alone spend this study's delta."
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
        yield attested(
            "E-BUDGET",
            SECTION,
            "Over all studies in the ledgers, no hospital in the bundle has spent more than its own budget.",
            (BUDGETS,),
            "Budgets are told by the hospitals. Analyses outside this system are not in any ledger.",
            ("FL-15", "FL-31"),
        )


def stage(evidence: Evidence) -> Iterator[Claim]:
    """What the preprocessing stage does to the guarantee, and what it does not show."""
    if evidence.agreement is None:
        return
    study = evidence.agreement.study
    kind, rows = study.stage.kind, study.sensitivity_rows
    if isinstance(study.effect, Voids):
        text = study.effect.reason
        yield undefined("E-STAGE-COST", SECTION, text, (AGREEMENT,), ("FL-25", "FL-27"))
        return
    if kind == "none":
        text = "No generalization or suppression of rows before training."
        yield not_applicable("E-STAGE", SECTION, text, "Scaling and categories are public in any case.")
        return
    if kind == "drop":
        how = f"Classes below k = {rows} are dropped; one patient can move {rows} rows, and the accounting is the mixture for that"
    elif isinstance(study.stage_release, ThresholdRelease):
        own = study.stage_release
        how = (
            f"Classes are kept when their noisy count reaches k = {own.k}; that costs {bound(own.epsilon, own.delta)}, which is "
            "added to the training's. The noise only ever lowers a count, so that a class that was kept has at least k patients; that it was drawn, once, is attested"
        )
    else:
        how = "Values are replaced by fixed public intervals and nothing is suppressed, so the stage costs nothing"
    yield verified(
        "E-STAGE-COST",
        SECTION,
        f"The stage {kind} is inside the printed number. {how}.",
        (AGREEMENT,),
        "k-anonymity is a property of a table; it adds no formal bound and does not lower the number.",
        ("FL-25", "FL-27"),
    )
    yield not_tested(
        "E-STAGE-KLT",
        SECTION,
        "The achieved k, l and t are in each hospital's own report and never on the wire; they are not in this bundle.",
        "Each data protection officer asks the own hospital for the report.",
        threats=("FL-25",),
    )

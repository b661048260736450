"""The assessment as one document: evidence and recomputed facts in, ``pia.json`` out, deterministic to the byte."""

from __future__ import annotations

from privacy import remembered
from privacy.accounting import TRADEOFF_FPRS
from privacy.agreement import Agreement
from privacy.canonical import canonical, sha256_hex
from privacy.claims import claims_of
from privacy.claims_dp import bound, void_reason
from privacy.evidence import (
    AGREEMENT,
    BUDGETS,
    HUMAN,
    LEDGERS,
    MODEL,
    PACKAGES,
    RECEIPTS,
    RESULT,
    ROSTER,
    ROUNDS,
    SIMULATION,
    TESTS,
    THREATS,
    Evidence,
)
from privacy.field import Field
from privacy.human_questions import SECTIONS
from privacy.pia_findings import alerts, gaps
from privacy.pia_schema import (
    Claim,
    CumulativePoint,
    CurvePoint,
    DataItem,
    Dp,
    EvidenceFile,
    HospitalPrivacy,
    Measure,
    Party,
    Pia,
    SecAgg,
    Section,
    Status,
    Study,
    TradeoffPoint,
    View,
    worst,
)
from privacy.plan import Charge, vectors
from privacy.pricing import seen_with_shares
from privacy.recompute import Facts, LedgerFacts, recompute
from privacy.threat_states import threat_states

_PRODUCERS = (
    (LEDGERS, "hospital, signed"),
    (RECEIPTS, "coordinator and hospitals, signed"),
    (ROSTER, "all hospitals, signed"),
    (AGREEMENT, "coordinator, derived again by every hospital"),
    (ROUNDS, "coordinator"),
    (RESULT, "coordinator"),
    (MODEL, "coordinator"),
    (THREATS, "wardround"),
    (TESTS, "test run"),
    (PACKAGES, "coordinator"),
    (HUMAN, "people"),
    (BUDGETS, "hospitals"),
    (SIMULATION, "simulation"),
)

_BASELINES = {
    "pooled_cox": "Cox model on pooled tables: all data in one place, no protection",
    "local_only": "Each hospital alone, mean",
}


def document(evidence: Evidence) -> Pia:
    """The assessment that this evidence carries."""
    facts = recompute(evidence)
    claims = claims_of(evidence, facts)
    states = threat_states(evidence)
    open_gaps = gaps(evidence, facts, claims, states)
    failing = any(claim.status is Status.FAILED for claim in claims)
    incomplete = failing or bool(evidence.problems) or any(gap.blocks_approval for gap in open_gaps)
    index = tuple(
        EvidenceFile(path=path, sha256=sha256_hex(data), producer=_producer(path))
        for path, data in sorted(evidence.files.items())
    )
    return Pia(
        schema_version="1.0",
        pia_id=sha256_hex(canonical([[file.path, file.sha256] for file in index]))[:16],
        generator_status="INCOMPLETE" if incomplete else "READY_FOR_REVIEW",
        headline=headline(evidence, facts),
        alerts=alerts(evidence, facts, claims),
        gaps=open_gaps,
        study=_study(evidence.agreement) if evidence.agreement else None,
        code=evidence.packages.code if evidence.packages else None,
        finished_at=max(
            (entry.record.time_iso for item in facts.ledgers for entry in item.entries), default=None
        ),
        parties=_parties(evidence),
        sections=_sections(evidence, claims),
        claims=claims,
        human_inputs=evidence.human or (),
        dp=_dp(evidence, facts),
        secagg=_secagg(evidence, facts),
        results=_results(evidence),
        threats=states,
        assumptions=tuple(
            {"id": item.id, "text": item.text, "if_false": item.if_false}
            for item in (evidence.register.assumptions if evidence.register else ())
        ),
        evidence=index,
    )


def document_bytes(pia: Pia) -> bytes:
    """``pia.json``: RFC 8785."""
    return canonical(pia.model_dump(mode="json"))


def headline(evidence: Evidence, facts: Facts) -> str:
    """The one sentence of the decision box, from the evidence."""
    reason = void_reason(evidence)
    if reason or evidence.agreement is None:
        return f"No formal guarantee for a patient. {reason}"
    most, delta = facts.guaranteed, evidence.agreement.study.delta
    if most is None or delta is None:
        return "What this run cost a patient is unknown: the study has no plan."
    if facts.unaccounted:
        return (
            f"One patient is exposed by this run to at most {bound(most, delta)}: the bound of the study's plan, because no closed "
            f"ledger shows what {', '.join(facts.unaccounted)} charged."
        )
    return (
        f"One patient of any hospital is exposed by this run to at most {bound(most, delta)}, recomputed from signed ledgers that "
        "close the study."
    )


def _producer(path: str) -> str:
    return next((who for prefix, who in _PRODUCERS if path.startswith(prefix)), "unknown")


def _study(agreement: Agreement) -> Study:
    study = agreement.study
    return Study(
        agreement_sha256=agreement.hash,
        id=study.id,
        title=study.title,
        purpose=study.purpose,
        mode=study.mode,
        stage=study.stage.kind,
        stage_k=study.stage.k,
        family=agreement.training.family,
        recipe=agreement.training.recipe,
        strategy=agreement.training.strategy,
        horizon_days=study.horizon_days,
        intervals=study.intervals,
        data_items=tuple(
            DataItem(
                name=field.name,
                type=field.type,
                roles=field.role,
                purpose=field.purpose,
                unit=field.unit,
                bounds=_bounds(field),
                source=field.source,
            )
            for field in study.fields
        ),
    )


def _bounds(field: Field) -> str:
    if field.categories:
        return ", ".join(field.categories)
    if field.minimum is None and field.maximum is None:
        return "-"
    low, high = (f"{value:g}" if value is not None else "open" for value in (field.minimum, field.maximum))
    return f"{low} to {high}"


def _parties(evidence: Evidence) -> tuple[Party, ...]:
    if evidence.roster is None:
        return ()
    roster = evidence.roster.roster
    sizes = evidence.agreement.study.n_public if evidence.agreement else {}
    return tuple(
        Party(
            id=member.id,
            role=member.role,
            identity_key_sha256=sha256_hex(member.identity_key),
            certificate_sha256=member.certificate_sha256.hex(),
            n_public=sizes.get(member.id),
        )
        for member in (*roster.hospitals, roster.coordinator)
    )


def _sections(evidence: Evidence, claims: tuple[Claim, ...]) -> tuple[Section, ...]:
    found = []
    for identifier, title in SECTIONS:
        own = [claim for claim in claims if claim.section == identifier]
        questions = [question for question in evidence.human or () if question.section == identifier]
        statuses = [claim.status for claim in own]
        statuses += [Status.STATED if question.state == "FINAL" else Status.GAP for question in questions]
        found.append(
            Section(
                id=identifier,
                title=title,
                status=worst(statuses),
                claims=tuple(claim.id for claim in own),
                questions=tuple(question.id for question in questions),
            )
        )
    return tuple(found)


def _dp(evidence: Evidence, facts: Facts) -> Dp:
    reason, agreement = void_reason(evidence), evidence.agreement
    plan = agreement.plan if agreement else None
    releases = () if reason or agreement is None else _behind(facts, agreement)
    points = _tradeoff(releases)
    return Dp(
        kind="none" if reason else "dp",
        reason=reason,
        views=_views(releases, agreement, facts.guaranteed) if agreement is not None and releases else (),
        curve=tuple(CurvePoint(delta=delta, epsilon=epsilon) for delta, epsilon in remembered.curve(releases))
        if releases
        else (),
        tradeoff=tuple(points[fpr] for fpr in TRADEOFF_FPRS if fpr in points),
        tradeoff_curve=tuple(points[fpr] for fpr in sorted(points)),
        releases=tuple(
            {
                "name": release.name,
                "kind": release.kind,
                "steps": release.steps,
                "sample_rate": release.sample_rate,
                "noise_multiplier": release.noise_multiplier,
                "sensitivity_rows": release.sensitivity_rows,
            }
            for release in (vectors(plan.charges) if plan and not reason else ())
        ),
        per_hospital=tuple(_hospital(evidence, ledger) for ledger in facts.ledgers),
    )


def _behind(facts: Facts, agreement: Agreement) -> tuple[Charge, ...]:
    """The charges whose loss is the printed number: those of the costliest ledger, or the whole plan."""
    most, plan = facts.worst, agreement.plan
    if most is not None and most.epsilon_shown == facts.guaranteed:
        return most.run
    return plan.charges if plan is not None else ()


def _tradeoff(releases: tuple[Charge, ...]) -> dict[float, TradeoffPoint]:
    """The table's points and enough between them: a chord of a concave curve would show less than the bound."""
    if not releases:
        return {}
    fprs = tuple(sorted({*TRADEOFF_FPRS, *(step / 50 for step in range(51))}))
    return {
        fpr: TradeoffPoint(fpr=fpr, tpr_max=1.0 - fnr) for fpr, fnr in remembered.tradeoff(releases, fprs)
    }


def _views(releases: tuple[Charge, ...], agreement: Agreement, guaranteed: float | None) -> tuple[View, ...]:
    """The number asked in several ways; all from the releases behind the printed one."""
    delta, epsilon = agreement.study.delta or 0.0, guaranteed or 0.0
    sampling = (
        "Poisson"
        if any(release.kind == "poisson_gaussian" for release in vectors(releases))
        else "full batch"
    )
    curious, broken = epsilon, epsilon
    note = "Each update carries its own noise, so the masks are not counted: the number is the same."
    if agreement.study.noise_shares > 1:
        curious = seen_with_shares(releases, delta, agreement.threshold - 1, "curious").number()
        broken = seen_with_shares(releases, delta, 1, "broken").number()
        note = "Each update carries a share of the noise; the number counts the shares that are left unknown."

    def view(
        name: str, epsilon: float | None, adjacency: str, accountant: str, note: str = ""
    ) -> tuple[View, ...]:
        if epsilon is None:
            # No bound at this delta (a threshold counted twice spends it alone): such a view has no number to show.
            return ()
        return (
            View(
                view=name,
                epsilon=epsilon,
                delta=delta,
                unit="patient",
                adjacency=adjacency,
                sampling=sampling,
                accountant=accountant,
                note=note,
            ),
        )

    twice = remembered.epsilon((*releases, *releases), delta)
    return (
        *view("Coordinator with colluding hospitals, all rounds", epsilon, "add/remove", "PLD"),
        *view("One curious hospital", curious, "add/remove", "PLD", note),
        *view("Coordinator, secure aggregation broken", broken, "add/remove", "PLD", note),
        *view(
            "As the first, second opinion",
            remembered.epsilon(releases, delta, accountant="rdp"),
            "add/remove",
            "RDP",
        ),
        *view(
            "As the first, one patient replaced by another",
            remembered.epsilon(releases, delta, "replace"),
            "replace",
            "PLD",
        ),
        *view(
            "A patient treated at two hospitals of the study",
            twice,
            "add/remove",
            "PLD",
            "Both ledgers composed.",
        ),
    )


def _hospital(evidence: Evidence, ledger: LedgerFacts) -> HospitalPrivacy:
    status = Status.ATTESTED if ledger.final else Status.GAP
    note = "not in the bundle" if ledger.problem == "missing" else ledger.problem
    if ledger.problem not in ("", "missing"):
        status = Status.FAILED
    elif not ledger.problem and not ledger.final:
        note = "does not close this study"
    budget = evidence.budgets.get(ledger.hospital)
    return HospitalPrivacy(
        hospital=ledger.hospital,
        status=status,
        note=note,
        ledger_head=ledger.entries[-1].hash if ledger.entries else None,
        entries=len(ledger.entries),
        reserved_only=ledger.reserved_only,
        releases=len(ledger.run),
        epsilon_run=ledger.epsilon_run,
        epsilon_cumulative=ledger.epsilon_cumulative,
        delta=evidence.agreement.study.delta if evidence.agreement else None,
        budget_epsilon=budget.epsilon_total if budget else None,
        cumulative=tuple(
            CumulativePoint(charges=charges, epsilon=epsilon) for charges, epsilon in ledger.steps
        ),
    )


def _secagg(evidence: Evidence, facts: Facts) -> SecAgg:
    agreement = evidence.agreement
    return SecAgg(
        hospitals=len(evidence.roster.roster.hospitals) if evidence.roster else 0,
        threshold=agreement.threshold if agreement else None,
        colluding=agreement.colluding if agreement else None,
        graph=agreement.study.graph.sentence() if agreement and agreement.study.graph else "",
        rounds=evidence.rounds or (),
        participation_rank=facts.participation_rank,
        isolable_hospitals=facts.isolable,
    )


def _results(evidence: Evidence) -> tuple[Measure, ...]:
    """Scores of a simulation; of local-only models their mean alone, since a page has no exact figure of one hospital."""
    if evidence.simulation is None:
        return ()
    rows = [("Federated model of this run", evidence.simulation.test)]
    rows += [
        (_BASELINES[name], score)
        for name, score in sorted(evidence.simulation.baselines.items(), reverse=True)
    ]
    return tuple(
        Measure(
            name=name,
            c_index=f"{score.c_index:.3f}",
            ibs="" if score.ibs is None else f"{score.ibs:.3f}",
        )
        for name, score in rows
    )

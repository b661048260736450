"""The assessment as one document: evidence and recomputed facts in, ``pia.json`` out, deterministic to the byte."""

from __future__ import annotations

from privacy.assessment.claims import claims_of
from privacy.assessment.claims_dp import bound, void_reason
from privacy.assessment.evidence import (
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
from privacy.assessment.human_questions import SECTIONS
from privacy.assessment.pia_findings import alerts, gaps
from privacy.assessment.pia_privacy import dp_part
from privacy.assessment.pia_schema import (
    Claim,
    DataItem,
    EvidenceFile,
    Measure,
    Party,
    Pia,
    SecAgg,
    Section,
    Status,
    Study,
    worst,
)
from privacy.assessment.recompute import Facts, recompute
from privacy.assessment.threat_states import threat_states
from privacy.link.canonical import canonical, sha256_hex
from privacy.patients.field import Field
from privacy.studies.agreement import Agreement

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
        EvidenceFile(path=path, sha256=sha256_hex(evidence.files[path]), producer=_producer(path))
        for path in sorted(evidence.files)
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
        dp=dp_part(evidence, facts),
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


def _secagg(evidence: Evidence, facts: Facts) -> SecAgg:
    agreement = evidence.agreement
    return SecAgg(
        hospitals=len(evidence.roster.roster.hospitals) if evidence.roster else 0,
        threshold=agreement.threshold if agreement else None,
        colluding=agreement.colluding if agreement else None,
        rounds=evidence.rounds or (),
        participation_rank=facts.participation_rank,
        isolable_hospitals=facts.isolable,
        graph=agreement.study.graph.sentence() if agreement and agreement.study.graph else "",
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

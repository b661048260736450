"""Claims about the synthetic table behind a study: who may stop for it, where its quality stands, under which license it was made."""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment.evidence import AGREEMENT, LEDGERS, Evidence
from privacy.assessment.pia_schema import Claim
from privacy.assessment.recompute import Facts
from privacy.assessment.statements import attested, gap, not_tested, stated
from privacy.studies.agreement import Agreement
from privacy.studies.study_stage import SYNTHETIC
from privacy.synthesis.gate import decided_before, gate_of
from privacy.synthesis.request import SDV_LICENSE

SECTION = "evidence"
THREATS = ("FL-26",)


def table(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    """Nothing for a study without a synthetic stage."""
    agreement = evidence.agreement
    if agreement is None or agreement.study.stage.kind not in SYNTHETIC:
        return
    yield from _gates(facts, agreement)
    yield not_tested(
        "E-SYNTHETIC-QUALITY",
        SECTION,
        "How far each synthetic table is from its patients (curves, event share, C-index, attacks) was measured inside the hospital and is not in "
        "this bundle: nothing pays for those figures.",
        "Each data protection officer asks the own hospital for the report.",
        threats=THREATS,
    )
    if agreement.study.stage.kind == "synthetic_sdv":
        yield stated(
            "E-SYNTHETIC-LICENSE",
            SECTION,
            f"The synthetic tables were made with {SDV_LICENSE}.",
            (AGREEMENT,),
            "Whether each hospital's use is covered by that grant is for the hospital to decide.",
        )


def _gates(facts: Facts, agreement: Agreement) -> Iterator[Claim]:
    """What each ledger says was decided before the table was drawn."""
    stage = None if agreement.plan is None else agreement.plan.stage
    found = {
        ledger.hospital: gate_of(ledger.entries, agreement.hash)
        for ledger in facts.ledgers
        if not ledger.problem and decided_before(ledger.entries, agreement.hash, stage)
    }
    silent = sorted({ledger.hospital for ledger in facts.ledgers} - {h for h, gate in found.items() if gate})
    if silent or not found:
        text = (
            f"Whether a table that fails its quality gate would have stopped {', '.join(silent) or 'a hospital'} is not known: no ledger says "
            "so before the table was drawn."
        )
        yield gap(
            "E-SYNTHETIC-GATE",
            SECTION,
            text,
            "A stop that others can see is a release; the ledger says beforehand whether one is possible.",
            THREATS,
        )
        return
    stops = sorted(hospital for hospital, gate in found.items() if gate == "stop")
    if stops:
        text = (
            f"{', '.join(stops)} decided before drawing that a table which fails its quality gate stops the hospital: that it takes part says "
            "that its table passed. This is outside the printed number."
        )
    else:
        text = (
            "Every hospital decided before drawing that the quality gate is measured and stops nothing: that it takes part says nothing "
            "of its table."
        )
    yield attested(
        "E-SYNTHETIC-GATE",
        SECTION,
        text,
        (LEDGERS,),
        "Written into each ledger before the table was drawn. That the node kept to it is attested.",
        THREATS,
    )

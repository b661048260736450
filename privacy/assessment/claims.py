"""What the assessment claims, and how far the evidence carries each claim.

A claim is a sentence with a status. The status is a function of the evidence and of what `privacy.assessment.recompute` finds in
it, of nothing else: no setting, no clock and nobody's word can make a claim better. What only a hospital can know is
ATTESTED at best. A missing file makes a GAP, a contradiction makes FAILED.
"""

from __future__ import annotations

from collections.abc import Iterator

from privacy.assessment import (
    claims_code,
    claims_dp,
    claims_ledgers,
    claims_result,
    claims_rounds,
    claims_stage,
    claims_synthetic,
)
from privacy.assessment.evidence import Evidence
from privacy.assessment.pia_schema import Claim as Claim
from privacy.assessment.pia_schema import Status as Status
from privacy.assessment.recompute import Facts, recompute


def evaluate(evidence: Evidence) -> tuple[Claim, ...]:
    """Every claim of the assessment, in the order of its chapters."""
    return claims_of(evidence, recompute(evidence))


def claims_of(evidence: Evidence, facts: Facts) -> tuple[Claim, ...]:
    """As `evaluate`, with the facts computed already."""
    return tuple(_all(evidence, facts))


def _all(evidence: Evidence, facts: Facts) -> Iterator[Claim]:
    yield from claims_code.parties(evidence, facts)
    yield from claims_code.description(evidence, facts)
    yield from claims_code.necessity(evidence)
    yield from claims_dp.guarantee(evidence, facts)
    yield from claims_ledgers.ledgers(evidence, facts)
    yield from claims_stage.stage(evidence)
    yield from claims_synthetic.table(evidence, facts)
    yield from claims_rounds.rounds(evidence, facts)
    yield from claims_result.results(evidence, facts)
    yield from claims_code.audits()
    yield from claims_code.threats(evidence)

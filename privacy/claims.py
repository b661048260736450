"""What the assessment claims, and how far the evidence carries each claim."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from privacy.evidence import Evidence


class Status(StrEnum):
    """How a claim is known, from best to worst in `rank`."""

    NOT_APPLICABLE = "NOT_APPLICABLE"
    VERIFIED = "VERIFIED"
    ATTESTED = "ATTESTED"
    STATED = "STATED"
    NOT_TESTED = "NOT_TESTED"
    STALE = "STALE"
    UNDEFINED = "UNDEFINED"
    GAP = "GAP"
    FAILED = "FAILED"


@dataclass(frozen=True, slots=True)
class Claim:
    """One statement of the assessment with its status, the evidence behind it and its limits."""

    id: str
    section: str
    text: str
    status: Status
    basis: str
    evidence: tuple[str, ...]
    limits: str
    recheck: str = ""
    threats: tuple[str, ...] = ()


def evaluate(evidence: Evidence) -> tuple[Claim, ...]:
    """Every claim of the assessment; each status is a function of the evidence and of nothing else."""
    raise NotImplementedError

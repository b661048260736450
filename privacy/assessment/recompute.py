"""Everything that the assessment says in numbers, computed again from signed evidence.

Nothing printed by the run is believed: epsilon comes from the ledgers' events through the accountant, cohorts from
receipts whose signatures hold, the chain from hashes. Claims compare what was printed with what is found here.
"""

from __future__ import annotations

from dataclasses import dataclass

from privacy.assessment.evidence import Evidence
from privacy.assessment.recompute_ledgers import (
    LedgerFacts,
    guaranteed_epsilon,
    planned_epsilon,
    read_ledgers,
)
from privacy.assessment.recompute_rounds import RoundFacts, participation, read_rounds, stray_receipts
from privacy.guarantees.stage_effect import MONDRIAN, SDV
from secagg.errors import RosterError
from secagg.roster import SignedRoster, verify_signed_roster


@dataclass(frozen=True, slots=True)
class Facts:
    """What the evidence proves; `planned` is epsilon of the study's whole plan, None without one."""

    roster_problem: str
    planned: float | None
    ledgers: tuple[LedgerFacts, ...]
    rounds: tuple[RoundFacts, ...]
    stray_receipts: tuple[str, ...]
    participation_rank: int
    isolable: tuple[str, ...]

    @property
    def worst(self) -> LedgerFacts | None:
        """The verified ledger that shows the largest loss in this study; None when no ledger verifies."""
        known = [ledger for ledger in self.ledgers if ledger.epsilon_shown is not None]
        return max(known, key=lambda ledger: ledger.epsilon_shown or 0.0, default=None)

    @property
    def unaccounted(self) -> tuple[str, ...]:
        """Hospitals of the study without a verified ledger that closes it."""
        return tuple(ledger.hospital for ledger in self.ledgers if not ledger.final)

    @property
    def hidden_rounds(self) -> frozenset[int]:
        """Rounds of this study that a verified ledger names and the record leaves out."""
        named = frozenset[int]().union(*(ledger.named_rounds for ledger in self.ledgers))
        return named - {item.record.round for item in self.rounds}

    @property
    def guaranteed(self) -> float | None:
        """The epsilon that may be printed: see `guaranteed_epsilon`."""
        return guaranteed_epsilon(self.planned, self.ledgers)


def no_guarantee_reason(mode: str, stage: str) -> str:
    """Why a study has no formal guarantee whatever its ledgers say; "" where it can have one.

    Source: data.md, table of stages: one patient moves many rows behind these stages, so noise that covers one row
    of their output does not cover one patient.
    """
    if mode == "none":
        return (
            "The study runs in mode none: nothing is noised and the coordinator sees the exact sum over the named hospitals, "
            "so nothing bounds what is learned about one patient."
        )
    return {"mondrian": MONDRIAN, "synthetic_sdv": SDV}.get(stage, "")


def recompute(evidence: Evidence) -> Facts:
    """Verify and recompute everything that the evidence allows."""
    agreement, signed = evidence.agreement, evidence.roster
    roster_problem = _roster_problem(signed)
    rounds = read_rounds(evidence, agreement, signed)
    rank, isolable = participation(signed.roster.ids if signed else (), rounds)
    return Facts(
        roster_problem=roster_problem,
        planned=planned_epsilon(agreement) if agreement else None,
        ledgers=read_ledgers(evidence, agreement, signed),
        rounds=rounds,
        stray_receipts=stray_receipts(evidence),
        participation_rank=rank,
        isolable=isolable,
    )


def _roster_problem(signed: SignedRoster | None) -> str:
    if signed is None:
        return "missing"
    try:
        verify_signed_roster(signed)
    except RosterError as error:
        return str(error)
    return ""

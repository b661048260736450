"""Everything that the assessment says in numbers, computed again from signed evidence.

Nothing printed by the run is believed: epsilon comes from the ledgers' events through the accountant, cohorts from
receipts whose signatures hold, the chain from hashes. Claims compare what was printed with what is found here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from privacy.accountable import accounting_problem
from privacy.agreement import Agreement
from privacy.evidence import Evidence, RoundRecord
from privacy.exchange import ExchangeError, removed_in
from privacy.ledger import Entry, LedgerBroken, charged, charged_to, is_closed, without_noise
from privacy.ledger_export import read_export
from privacy.plan import Charge, Release
from privacy.remembered import epsilon
from privacy.stage_effect import MONDRIAN, SDV
from privacy.stage_release import StageRelease, void_reason
from privacy.synthesis.charges import DerivedRelease
from secagg.errors import RosterError, SecAggError
from secagg.fixed_point import from_ring
from secagg.params import SecAggParams
from secagg.receipt import ReceiptRef, VerifiedReceipt, audit_receipt
from secagg.roster import SignedRoster, verify_signed_roster

#: Points of a cumulative curve; each costs a composition of its own.
CURVE_POINTS = 12

#: Two computations of one epsilon on different machines agree to this.
EPSILON_TOLERANCE = 1e-9


@dataclass(frozen=True, slots=True)
class LedgerFacts:
    """One hospital's ledger.

    Attributes:
        hospital: id on the roster.
        problem: "" for a chain that verifies; "missing"; or why it does not verify.
        final: the verified chain closes this study: its charges are all that there will ever be.
        entries: the verified chain, empty where there is a problem.
        run: entries' releases charged to this study.
        everything: releases charged to any study.
        reserved_only: charges of this study that were reserved and never sent.
        paid_rounds: rounds of this study whose release was written as SPENT; in mode none those that a NOTE names.
        named_rounds: rounds of this study that any charge names, or in mode none a NOTE.
        epsilon_shown: of the charges to this study that the chain shows, None without a verified ledger or without delta.
        epsilon_run, epsilon_cumulative: of this study and of all studies; None too where the chain is not final, since
            more may have been charged since.
        steps: (charges so far, cumulative epsilon), at most CURVE_POINTS + 1 of them.
    """

    hospital: str
    problem: str
    final: bool = False
    entries: tuple[Entry, ...] = ()
    run: tuple[Charge, ...] = ()
    everything: tuple[Charge, ...] = ()
    reserved_only: int = 0
    paid_rounds: frozenset[int] = frozenset()
    named_rounds: frozenset[int] = frozenset()
    epsilon_shown: float | None = None
    epsilon_run: float | None = None
    epsilon_cumulative: float | None = None
    steps: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class RoundFacts:
    """One round: the coordinator's record beside its receipt.

    ``problem`` is "" when the receipt verifies and says what the record says, or the round was aborted.
    """

    record: RoundRecord
    problem: str
    receipt: VerifiedReceipt | None = None


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


def planned_epsilon(agreement: Agreement) -> float | None:
    """What the study's whole plan costs a patient; None in mode none."""
    plan = agreement.plan
    return None if plan is None else epsilon(plan.charges, plan.delta)


def guaranteed_epsilon(planned: float | None, ledgers: Sequence[LedgerFacts]) -> float | None:
    """The largest loss that the ledgers show, and never less than the plan's.

    A study that ended early has not spent less: whoever may stop it after seeing sums may let them decide, and the loss up to a
    stop chosen like that is bounded by the plan's, not by that of the rounds that ran.
    """
    shown = [ledger.epsilon_shown for ledger in ledgers if ledger.epsilon_shown is not None]
    if planned is not None:
        shown.append(planned)
    return max(shown, default=None)


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
    rounds = _rounds(evidence, agreement, signed)
    rank, isolable = participation(signed.roster.ids if signed else (), rounds)
    return Facts(
        roster_problem=roster_problem,
        planned=planned_epsilon(agreement) if agreement else None,
        ledgers=_ledgers(evidence, agreement, signed),
        rounds=rounds,
        stray_receipts=_stray_receipts(evidence),
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


def read_ledger(
    data: bytes | None,
    hospital: str,
    public_key: bytes,
    study_hash: str,
    delta: float | None,
    stage: StageRelease | None = None,
) -> LedgerFacts:
    """Verify one ledger export and account for it.

    Args:
        data: the export, None when the bundle has none.
        hospital: id on the roster.
        public_key: its identity key on the roster.
        study_hash: hexadecimal hash of the agreement; its charges are those of this run.
        delta: at which epsilon is computed; None in mode none.
        stage: what the study's stage costs; drawn once for all studies, so that an earlier one may have paid.
    """
    if data is None:
        return LedgerFacts(hospital, "missing")
    try:
        entries = read_export(data, public_key)
    except (LedgerBroken, ValueError) as error:
        return LedgerFacts(hospital, str(error))
    ours = tuple(entry for entry in entries if entry.record.study_hash == study_hash)
    rounds = [entry for entry in ours if isinstance(entry.record.release, Release | DerivedRelease)]
    reserved = {entry.record.key for entry in rounds if entry.kind == "RESERVE"}
    paid = {entry.record.key for entry in rounds if entry.kind == "SPENT"}
    run, everything = charged_to(entries, study_hash, stage), charged(entries)
    if delta is not None and (beyond := accounting_problem(everything)):
        return LedgerFacts(hospital, beyond)
    noted = frozenset(e.record.round for e in ours if e.kind == "NOTE" and e.record.round and delta is None)
    final = is_closed(entries, study_hash)
    void = stage is not None and void_reason((stage,)) != ""
    # A chain that keeps quiet about a stage without guarantee gets no number for it.
    shown = None if delta is None or void else epsilon(run, delta)
    return LedgerFacts(
        hospital=hospital,
        problem="",
        final=final,
        entries=entries,
        run=run,
        everything=everything,
        reserved_only=len(reserved - paid),
        paid_rounds=frozenset(number for _, _, number in paid) | noted,
        named_rounds=frozenset(number for _, _, number in reserved | paid) | noted,
        epsilon_shown=shown,
        epsilon_run=shown if final else None,
        epsilon_cumulative=None
        if delta is None or void or without_noise(entries) or not final
        else epsilon(everything, delta),
        steps=() if delta is None or void else _steps(everything, delta),
    )


def _ledgers(
    evidence: Evidence, agreement: Agreement | None, signed: SignedRoster | None
) -> tuple[LedgerFacts, ...]:
    if signed is None or agreement is None:
        return ()
    return tuple(
        read_ledger(
            evidence.ledger(member.id),
            member.id,
            member.identity_key,
            agreement.hash,
            agreement.study.delta,
            None if agreement.plan is None else agreement.plan.stage,
        )
        for member in signed.roster.hospitals
    )


def _steps(releases: Sequence[Charge], delta: float) -> tuple[tuple[int, float], ...]:
    every = max(1, ceil(len(releases) / CURVE_POINTS))
    counts = sorted({*range(every, len(releases) + 1, every), len(releases)} - {0})
    found = [(count, epsilon(releases[:count], delta)) for count in counts]
    return tuple((count, number) for count, number in found if number is not None)


def _rounds(
    evidence: Evidence, agreement: Agreement | None, signed: SignedRoster | None
) -> tuple[RoundFacts, ...]:
    found: list[RoundFacts] = []
    previous: ReceiptRef | None = ReceiptRef()
    for record in evidence.rounds or ():
        facts = _round(evidence, record, agreement, signed, previous)
        if record.status == "done":
            # Behind a missing receipt the chain cannot be followed: that is a gap, named as such, no contradiction.
            previous = facts.receipt.ref if facts.receipt is not None else None
        found.append(facts)
    return tuple(found)


def _round(
    evidence: Evidence,
    record: RoundRecord,
    agreement: Agreement | None,
    signed: SignedRoster | None,
    previous: ReceiptRef | None,
) -> RoundFacts:
    data = evidence.receipt(record.round)
    if record.status == "aborted":
        return RoundFacts(record, "an aborted round has a receipt" if data is not None else "")
    if data is None:
        return RoundFacts(record, "missing")
    if agreement is None or signed is None:
        return RoundFacts(record, "cannot be checked without agreement and roster")
    try:
        receipt = audit_receipt(data, bytes.fromhex(agreement.hash), signed.roster, parameters(agreement))
    except SecAggError as error:
        return RoundFacts(record, str(error))
    return RoundFacts(record, _difference(record, receipt, previous, agreement), receipt)


def parameters(agreement: Agreement) -> SecAggParams:
    """The agreement's numbers as secagg checks them."""
    return agreement.secagg


def _difference(
    record: RoundRecord, receipt: VerifiedReceipt, previous: ReceiptRef | None, agreement: Agreement
) -> str:
    """What the coordinator wrote down that its own receipt does not bear out; "" where both agree."""
    body = receipt.body
    missing = {(gone.hospital, gone.step) for gone in body.missing}
    pairs = (
        (body.round == record.round, "the receipt is of another round"),
        (body.order_hash.hex() == record.order_hash, "the receipt names another order"),
        (
            tuple(sorted(receipt.members)) == tuple(sorted(record.answered)),
            "the receipt names another cohort",
        ),
        (
            {(gone.hospital, gone.step) for gone in record.missing} == missing,
            "the receipt names others as missing",
        ),
        (
            set(record.noise_removed) <= set(record.answered)
            and _told_of_noise(receipt, agreement) in (None, len(record.noise_removed)),
            "the signed sum counts other hospitals whose spare noise is out",
        ),
        (record.threshold == agreement.threshold, "the threshold is not the agreed one"),
        (
            previous is None
            or (body.previous_round, body.previous_receipt) == (previous.round, previous.hash),
            "the receipt does not follow the one before: a receipt is missing or the chain was cut",
        ),
    )
    return "; ".join(problem for holds, problem in pairs if not holds)


def _told_of_noise(receipt: VerifiedReceipt, agreement: Agreement) -> int | None:
    """Of how many hospitals the signed sum says that spare noise is out, 0 in studies without; None where the receipt came without its sum."""
    if not receipt.sum:
        return None
    ring = np.dtype("<u4") if agreement.modulus_bits == 32 else np.dtype("<u8")
    total = from_ring(np.frombuffer(receipt.sum, dtype=ring), agreement.modulus_bits)
    try:
        return removed_in(agreement, total, receipt.members)
    except ExchangeError:
        return -1


def _stray_receipts(evidence: Evidence) -> tuple[str, ...]:
    """Receipts of rounds that ``rounds.jsonl`` does not list: somebody left a round out."""
    listed = {f"evidence/receipts/{record.round}.bin" for record in evidence.rounds or ()}
    return tuple(
        sorted(
            path for path in evidence.files if path.startswith("evidence/receipts/") and path not in listed
        )
    )


def participation(hospitals: Sequence[str], rounds: Sequence[RoundFacts]) -> tuple[int, tuple[str, ...]]:
    """Rank of the matrix rounds x hospitals, and the hospitals that a solver could isolate.

    A hospital is isolable when its unit vector lies in the row space: then some combination of published sums is its
    own contribution, if the model stood still (So et al. 2021, arXiv 2106.03328).
    """
    rows = [
        [float(hospital in facts.record.answered) for hospital in hospitals]
        for facts in rounds
        if facts.record.status == "done"
    ]
    if not rows or not hospitals:
        return 0, ()
    matrix = np.unique(np.array(rows), axis=0)
    rank = int(np.linalg.matrix_rank(matrix))
    isolable = tuple(
        hospital
        for hospital, unit in zip(hospitals, np.eye(len(hospitals)), strict=True)
        if int(np.linalg.matrix_rank(np.vstack([matrix, unit]))) == rank
    )
    return rank, isolable


def noise_problem(ledger: LedgerFacts, agreement: Agreement) -> str:
    """What a ledger charged that the agreed plan does not contain; "" where everything is in the plan."""
    if agreement.plan is None:
        return "the ledger charges a release in a study without a plan" if ledger.run else ""
    planned = {release.name: release for release in agreement.plan.charges}
    for release in ledger.run:
        if isinstance(release, DerivedRelease) and release.source == agreement.plan.stage:
            continue
        if release.name not in planned:
            return f"the ledger charges a release {release.name} that the plan does not contain"
        if _per_step(release) != _per_step(planned[release.name]):
            return f"release {release.name} was charged with other noise, sampling or clip than agreed"
    if agreement.plan.stage is not None and ledger.run and agreement.plan.stage not in ledger.run:
        return f"the stage {agreement.study.stage.kind} was never charged"
    return ""


def _per_step(release: Charge) -> Mapping[str, object]:
    return {**release.to_json(), "steps": 1}

"""What the hospitals' signed ledgers prove: charges of the study and of everything, through the accountant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from privacy.assessment.evidence import Evidence
from privacy.guarantees.accountable import accounting_problem
from privacy.guarantees.plan import Charge, Release
from privacy.guarantees.remembered import epsilon
from privacy.guarantees.stage_release import StageRelease, void_reason
from privacy.ledgers.charges import charged, charged_to, is_closed, without_noise
from privacy.ledgers.ledger import Entry, LedgerBroken
from privacy.ledgers.ledger_export import read_sealed
from privacy.ledgers.told_noise import Runs
from privacy.studies.agreement import Agreement
from privacy.synthesis.charges import DerivedRelease
from secagg.roster import SignedRoster

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
        told_noise: rounds of this study in which the hospital told its spare noise, or may have, as it signed when it closed the study;
            None where no such statement is known.
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
    told_noise: Runs | None = None


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
        sealed = read_sealed(data, public_key)
    except (LedgerBroken, ValueError) as error:
        return LedgerFacts(hospital, str(error))
    entries = sealed.entries
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
        # A seal about another study, or from before the end of this one, does not speak of all rounds.
        told_noise=sealed.told if final and sealed.study_hash == study_hash else None,
    )


def read_ledgers(
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
    if agreement.plan.stage is not None and not _paid_first(ledger, agreement.hash, agreement.plan.stage):
        return f"the stage {agreement.study.stage.kind} was not charged before the first round behind it"
    return ""


def _paid_first(ledger: LedgerFacts, study_hash: str, stage: StageRelease) -> bool:
    """Whether the ledger charged the stage, for whatever study, before it charged a round behind it; `run` holds the stage in any case."""
    for entry in ledger.entries:
        if entry.kind == "SPENT" and entry.record.release == stage:
            return True
        if (
            entry.kind == "RESERVE"
            and entry.record.study_hash == study_hash
            and entry.record.release != stage
        ):
            return False
    return True


def _per_step(release: Charge) -> Mapping[str, object]:
    return {**release.to_json(), "steps": 1}

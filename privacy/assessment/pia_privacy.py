"""The privacy part of an assessment: the loss seen in several ways, its curves, and each hospital's ledger."""

from __future__ import annotations

from privacy.assessment.claims_dp import void_reason
from privacy.assessment.evidence import (
    Evidence,
)
from privacy.assessment.pia_schema import (
    CumulativePoint,
    CurvePoint,
    Dp,
    HospitalPrivacy,
    Status,
    TradeoffPoint,
    View,
)
from privacy.assessment.recompute import Facts
from privacy.assessment.recompute_ledgers import LedgerFacts
from privacy.guarantees import remembered
from privacy.guarantees.accounting import TRADEOFF_FPRS
from privacy.guarantees.plan import Charge, vectors
from privacy.guarantees.pricing import seen_with_shares
from privacy.studies.agreement import Agreement


def dp_part(evidence: Evidence, facts: Facts) -> Dp:
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

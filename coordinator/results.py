"""What a finished study leaves: result.json, model.json and the evidence folder of its privacy impact assessment."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coordinator.gather import Silence
from coordinator.rounds import Outcome
from coordinator.state import StoredRound
from privacy.accounting import spent
from privacy.agreement import Agreement
from privacy.canonical import canonical
from privacy.evidence import AGREEMENT, LEDGERS, RECEIPTS, RESULT, ROSTER, ROUNDS
from privacy.guarantee import Guarantee
from privacy.ledger import charged, charged_to, fold
from privacy.ledger_export import read_export
from privacy.plan import Release
from privacy.trained_model import TrainedModel, layout_of
from secagg.receipt import without_sum
from secagg.roster import SignedRoster

MODEL_FILE = "model.json"
RESULT_FILE = "result.json"
NO_INTERVAL = "standard errors that know of the noise are not built yet"
NO_RATIOS = "a network has no hazard ratios"


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """What is known at the end of a study, finished or failed.

    Attributes:
        theta: final parameters; None for a study that failed.
        outcomes: all rounds in order.
        accepted, refused: hospitals that took part, and the others with the reason.
        ledgers: signed exports by hospital.
        reason: why it failed, empty where it did not.
        seconds: wall time per phase.
        transport: "mutual_tls_1_3", or "in_process" where a simulation hands messages over.
    """

    theta: NDArray[np.float64] | None
    outcomes: Sequence[Outcome]
    accepted: Sequence[str]
    refused: Sequence[Silence]
    ledgers: Mapping[str, bytes]
    reason: str
    seconds: Mapping[str, float]
    transport: str


def planned_guarantee(agreement: Agreement) -> Guarantee:
    """What the study's whole plan costs a patient, composed through the stage."""
    if agreement.plan is None:
        return Guarantee.none(
            "mode none: nothing that leaves the hospitals is noised; only single hospitals are hidden in the sum"
        )
    return spent(agreement.plan.charges, agreement.plan.delta)


def _released_guarantee(agreement: Agreement, per_hospital: Mapping[str, Mapping[str, Any]]) -> Guarantee:
    """What the run did cost: the largest loss that a hospital's signed ledger shows; the plan's where there is no ledger."""
    planned = planned_guarantee(agreement)
    shown = [body["epsilon"] for body in per_hospital.values() if body["epsilon"] is not None]
    return replace(planned, epsilon=max(shown)) if shown and planned.kind == "dp" else planned


def result_json(agreement: Agreement, roster: SignedRoster, record: StudyRecord) -> dict[str, Any]:
    """The coordinator's part of result.json: scores on held-out patients are added by whoever has them."""
    done = [o for o in record.outcomes if o.status == "done"]
    answered = sorted({hospital for o in done for hospital in o.answered})
    per_hospital = {
        h: _hospital(agreement, roster, h, record.ledgers.get(h)) for h in agreement.study.hospitals
    }
    return {
        "study": agreement.study.id,
        "study_hash": agreement.hash,
        "status": "failed" if record.theta is None else "done",
        "reason": record.reason,
        "mode": agreement.study.mode,
        "family": agreement.training.family,
        "stage": agreement.study.stage.kind,
        "transport": record.transport,
        "hospitals": list(agreement.study.hospitals),
        "rounds": len(record.outcomes),
        "guarantee": _released_guarantee(agreement, per_hospital).to_json(),
        "guarantee_planned": planned_guarantee(agreement).to_json(),
        "cohort": {"answered": answered, "missing": _missing(agreement, record)},
        "per_hospital": per_hospital,
        "coefficients": [] if record.theta is None else _coefficients(agreement, record.theta),
        "coefficients_reason": NO_RATIOS if agreement.training.hidden else "",
        "seconds": {phase: round(seconds, 3) for phase, seconds in record.seconds.items()},
        "pia": "pia.html",
    }


def _missing(agreement: Agreement, record: StudyRecord) -> list[dict[str, Any]]:
    """Every hospital that was absent from a sum or from a step of a round, with the first place and the reason."""
    missing: dict[str, dict[str, Any]] = {
        s.hospital: {"hospital": s.hospital, "round": 0, "step": s.step, "reason": s.reason}
        for s in record.refused
    }
    for outcome in record.outcomes:
        for silence in outcome.missing:
            missing.setdefault(
                silence.hospital,
                {
                    "hospital": silence.hospital,
                    "round": outcome.round,
                    "step": silence.step,
                    "reason": silence.reason,
                },
            )
    for hospital in set(agreement.study.hospitals) - set(record.accepted) - set(missing):
        missing[hospital] = {
            "hospital": hospital,
            "round": 0,
            "step": "study",
            "reason": "it did not take part",
        }
    return [missing[hospital] for hospital in sorted(missing)]


def _hospital(
    agreement: Agreement, roster: SignedRoster, hospital: str, ledger: bytes | None
) -> dict[str, Any]:
    """Epsilon of this study and of everything in the hospital's own ledger, as the hospital signed it."""
    body: dict[str, Any] = {"n_public": agreement.study.n_public[hospital]}
    if agreement.plan is None:
        return body | {"epsilon": None, "reason": "mode none"}
    if ledger is None:
        return body | {"epsilon": None, "reason": "no ledger was received from this hospital"}
    entries = read_export(ledger, roster.roster.member(hospital).identity_key)
    own = [state for key, state in fold(entries).items() if key[0] == agreement.hash]
    rounds = [state for state in own if isinstance(state.release, Release)]
    delta, charges = agreement.plan.delta, charged_to(entries, agreement.hash, agreement.plan.stage)
    run, everything = spent(charges, delta), spent(charged(entries), delta)
    return body | {
        "epsilon": run.epsilon,
        "epsilon_all_studies": None if everything.epsilon == inf else everything.epsilon,
        **({} if run.epsilon is not None else {"reason": run.reason}),
        "delta": delta if run.epsilon is not None else None,
        "rounds_spent": sum(state.kind == "SPENT" for state in rounds),
        "rounds_reserved_only": sum(state.kind == "RESERVE" for state in rounds),
    }


def _coefficients(agreement: Agreement, theta: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Log hazard ratios per unit of the field (of its log(1 + x) where the dictionary says so); none for a network."""
    if agreement.training.hidden:
        return []
    beta = layout_of(agreement).beta(theta)
    return [
        {
            "name": column.name,
            "log_hr": float(value / column.half_range),
            "log_hr_scaled": float(value),
            "se": None,
            "ci95": None,
            "reason": NO_INTERVAL,
        }
        for column, value in zip(agreement.study.dictionary.design, beta, strict=True)
    ]


def write_study(
    out: Path, agreement: Agreement, roster: SignedRoster, record: StudyRecord, rounds: Sequence[StoredRound]
) -> dict[str, Any]:
    """Writes model.json, result.json and the evidence folder; returns the result.

    Args:
        out: folder of this run; an older evidence folder in it is replaced.
        rounds: as the coordinator's state keeps them.
    """
    shutil.rmtree(out / "evidence", ignore_errors=True)
    (out / RECEIPTS).mkdir(parents=True)
    (out / LEDGERS).mkdir(parents=True)
    (out / AGREEMENT).write_bytes(agreement.to_bytes())
    (out / ROSTER).write_bytes(roster.canonical)
    (out / ROUNDS).write_bytes(b"".join(stored.record + b"\n" for stored in rounds))
    for stored in rounds:
        if stored.receipt is not None:
            (out / RECEIPTS / f"{stored.round}.bin").write_bytes(without_sum(stored.receipt))
    for hospital, ledger in record.ledgers.items():
        (out / LEDGERS / f"{hospital}.jsonl").write_bytes(ledger)
    if record.theta is not None:
        (out / MODEL_FILE).write_bytes(TrainedModel.of(agreement, record.theta).to_bytes())
    result = result_json(agreement, roster, record)
    write_result(out, result)
    return result


def write_result(out: Path, result: Mapping[str, Any]) -> None:
    """result.json beside the model and, the same bytes, in the evidence."""
    data = canonical(dict(result))
    (out / RESULT).write_bytes(data)
    (out / RESULT_FILE).write_bytes(data)

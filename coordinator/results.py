"""What a finished study leaves: result.json, model.json and the evidence folder of its privacy impact assessment."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from coordinator.gather import Silence
from coordinator.outcome import Outcome
from coordinator.state import StoredRound
from privacy.analytics.report import analysis_json
from privacy.assessment.evidence import AGREEMENT, LEDGERS, MODEL, RECEIPTS, RESULT, ROSTER, ROUNDS
from privacy.assessment.recompute_ledgers import LedgerFacts, guaranteed_epsilon, read_ledger
from privacy.guarantees.accounting import spent
from privacy.guarantees.guarantee import NOTHING_NOISED, Guarantee
from privacy.guarantees.plan import stages
from privacy.guarantees.pricing import HEADLINE_VIEW
from privacy.guarantees.stage_release import void_reason
from privacy.link.canonical import canonical
from privacy.recipes.fit import Statistic
from privacy.recipes.intervals import Estimate
from privacy.studies.agreement import Agreement
from privacy.studies.coefficients import coefficient_rows, known_limit
from privacy.studies.trained_model import TrainedModel
from privacy.synthesis.gate import gate_of
from privacy.synthesis.request import GATED
from secagg.roster import SignedRoster

RESULT_FILE = "result.json"
NO_RATIOS = "a network has no hazard ratios"
NO_MODEL = "the study trains no model"


@dataclass(frozen=True, slots=True)
class StudyRecord:
    """What is known at the end of a study, finished or failed.

    Attributes:
        theta: final parameters; None for a study that failed or trains nothing.
        outcomes: all rounds in order.
        accepted, refused: hospitals that took part, and the others with the reason.
        ledgers: signed exports by hospital.
        reason: why it failed, empty where it did not.
        seconds: wall time per phase.
        transport: "mutual_tls_1_3", or "in_process" where a simulation hands messages over.
        estimate: coefficients with their errors, where the recipe knows them.
        analysis: released sums of the analysis, by task.
    """

    theta: NDArray[np.float64] | None
    outcomes: Sequence[Outcome]
    accepted: Sequence[str]
    refused: Sequence[Silence]
    ledgers: Mapping[str, bytes]
    reason: str
    seconds: Mapping[str, float]
    transport: str
    estimate: Estimate | None = None
    analysis: Mapping[str, Statistic] = field(default_factory=dict)


def planned_guarantee(agreement: Agreement) -> Guarantee:
    """What the study's whole plan costs a patient, composed through the stage."""
    if agreement.plan is None:
        return Guarantee.none(NOTHING_NOISED)
    view = "coordinator" if agreement.study.noise_shares == 1 else HEADLINE_VIEW
    guarantee = spent(agreement.plan.charges, agreement.plan.delta, view=view)
    rows = agreement.study.row_assumption
    if not rows or guarantee.kind == "none":
        return guarantee
    return replace(guarantee, assumptions=(*guarantee.assumptions, rows))


def _released_guarantee(agreement: Agreement, ledgers: Sequence[LedgerFacts]) -> Guarantee:
    """What may be printed: what closed ledgers show, and the plan's bound while a hospital's ledger does not close the study."""
    planned = planned_guarantee(agreement)
    if planned.kind == "none":
        return planned
    gates = [gate_of(ledger.entries, agreement.hash) for ledger in ledgers]
    more = (GATED,) if "stop" in gates else ()
    return replace(
        planned,
        epsilon=guaranteed_epsilon(planned.epsilon, ledgers),
        assumptions=(*planned.assumptions, *more),
    )


def result_json(agreement: Agreement, roster: SignedRoster, record: StudyRecord) -> dict[str, Any]:
    """The coordinator's part of result.json: scores on held-out patients are added by whoever has them."""
    done = [o for o in record.outcomes if o.status == "done"]
    # A study's sum is its last one: who dropped out before is among the missing.
    answered = sorted(done[-1].answered) if done else []
    ledgers = [
        read_ledger(
            record.ledgers.get(member.id),
            member.id,
            member.identity_key,
            agreement.hash,
            agreement.study.delta,
            None if agreement.plan is None else agreement.plan.stage,
        )
        for member in roster.roster.hospitals
    ]
    per_hospital = {ledger.hospital: _hospital(agreement, ledger) for ledger in ledgers}
    return {
        "study": agreement.study.id,
        "study_hash": agreement.hash,
        "status": "failed" if record.reason else "done",
        "reason": record.reason,
        "mode": agreement.study.mode,
        "family": agreement.training.family,
        "stage": agreement.study.stage.kind,
        "transport": record.transport,
        "hospitals": list(agreement.study.hospitals),
        "rounds": len(record.outcomes),
        "guarantee": _released_guarantee(agreement, ledgers).to_json(),
        "guarantee_planned": planned_guarantee(agreement).to_json(),
        "cohort": {"answered": answered, "missing": _missing(agreement, record)},
        "per_hospital": per_hospital,
        "coefficients": []
        if record.theta is None
        else coefficient_rows(agreement, record.theta, record.estimate),
        "coefficients_reason": _no_ratios(agreement),
        "coefficients_limit": known_limit(agreement, record.estimate),
        **_analysis(agreement, record),
        "seconds": {phase: round(seconds, 3) for phase, seconds in record.seconds.items()},
        "pia": "pia.html",
    }


def _no_ratios(agreement: Agreement) -> str:
    if not agreement.study.has_model:
        return NO_MODEL
    return NO_RATIOS if agreement.training.hidden else ""


def _analysis(agreement: Agreement, record: StudyRecord) -> dict[str, Any]:
    """The section `analysis` of a study that asked for it and did not fail."""
    section = None if record.reason else analysis_json(agreement, record.analysis, record.theta)
    return {} if section is None else {"analysis": section}


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


def _hospital(agreement: Agreement, ledger: LedgerFacts) -> dict[str, Any]:
    """Epsilon of this study and of everything in the hospital's own ledger, as the hospital signed it."""
    body: dict[str, Any] = {"n_public": agreement.study.n_public[ledger.hospital]}
    if agreement.plan is None:
        return body | {"epsilon": None, "reason": "mode none"}
    if ledger.problem == "missing":
        return body | {"epsilon": None, "reason": "no ledger was received from this hospital"}
    if ledger.problem:
        # One hospital's broken export must not cost the others their study.
        return body | {"epsilon": None, "reason": f"its ledger does not verify: {ledger.problem}"}
    if not ledger.final:
        return body | {"epsilon": None, "reason": "its ledger does not close this study: more may be charged"}
    charges = agreement.plan.charges
    reason = void_reason(stages(charges))
    return body | {
        "epsilon": ledger.epsilon_run,
        "epsilon_all_studies": ledger.epsilon_cumulative,
        **({"reason": reason} if reason else {}),
        "delta": None if reason else agreement.plan.delta,
        "rounds_spent": len(ledger.paid_rounds),
        "rounds_reserved_only": ledger.reserved_only,
    }


# The transport of a simulation, which hands messages over.
IN_PROCESS = "in_process"


class OutTaken(Exception):
    """The folder for a result holds another one, whose evidence would be lost."""

    exit_code: ClassVar[int] = 2


def check_out(out: Path, study_id: str, *, simulated: bool = False) -> None:
    """Before a study begins.

    Args:
        simulated: what is about to be written comes from a simulation, which is no reason to lose a real study's evidence either.

    Raises:
        OutTaken: `out` holds the result of another study, or a real one's where a simulation is asked for.
    """
    try:
        held = json.loads((out / RESULT_FILE).read_bytes())
    except FileNotFoundError:
        return
    except ValueError:
        held = None
    name = held.get("study") if isinstance(held, dict) else None
    if name != study_id or (simulated and held.get("transport") != IN_PROCESS):
        raise OutTaken(
            f"{out} holds the result of {'another study' if name is None else name}, whose evidence would be lost; "
            "name another folder by --out"
        )


def write_study(
    out: Path, agreement: Agreement, roster: SignedRoster, record: StudyRecord, rounds: Iterable[StoredRound]
) -> dict[str, Any]:
    """Writes model.json, result.json and the evidence folder; returns the result when all of it is on the disk, as nobody can make it again.

    Args:
        out: folder of this run; an older evidence folder and model in it are replaced.
        rounds: as the coordinator's state keeps them; none is held once it is written.
    """
    shutil.rmtree(out / "evidence", ignore_errors=True)
    (out / RECEIPTS).mkdir(parents=True)
    (out / LEDGERS).mkdir(parents=True)
    (out / AGREEMENT).write_bytes(agreement.to_bytes())
    (out / ROSTER).write_bytes(roster.canonical)
    with (out / ROUNDS).open("wb") as lines:
        for stored in rounds:
            lines.write(stored.record + b"\n")
            if stored.receipt is not None:
                (out / RECEIPTS / f"{stored.round}.bin").write_bytes(stored.receipt)
    for hospital, ledger in record.ledgers.items():
        (out / LEDGERS / f"{hospital}.jsonl").write_bytes(ledger)
    (out / MODEL).unlink(missing_ok=True)
    if record.theta is not None:
        (out / MODEL).write_bytes(TrainedModel.of(agreement, record.theta).to_bytes())
    result = result_json(agreement, roster, record)
    write_result(out, result)
    _sync((*(out / "evidence").rglob("*"), out / "evidence", out / MODEL, out / RESULT_FILE, out))
    return result


def write_result(out: Path, result: Mapping[str, Any]) -> None:
    """result.json beside the model and, the same bytes, in the evidence."""
    data = canonical(dict(result))
    (out / RESULT).write_bytes(data)
    # Half of it would be another study's result to whoever looks before the next run.
    draft = out / f"{RESULT_FILE}.draft"
    draft.write_bytes(data)
    draft.replace(out / RESULT_FILE)


def _sync(paths: Iterable[Path]) -> None:
    """Files and folders to the disk; a model may be none."""
    for path in filter(Path.exists, paths):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

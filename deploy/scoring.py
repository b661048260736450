"""Scores of a simulation: the federated model beside pooled Cox and each hospital alone, on patients held out by whoever split the files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from coordinator.progress import Progress
from coordinator.results import write_result
from privacy.assessment.evidence import SIMULATION
from privacy.link.canonical import canonical
from privacy.studies.agreement import Agreement
from privacy.studies.study_stage import SYNTHETIC
from privacy.studies.trained_model import TrainedModel

if TYPE_CHECKING:
    import pandas as pd

LABEL = "simulation only: computed from the files that the simulation split itself; no party of a real study can compute it"


def add_scores(
    out: Path,
    result: Mapping[str, Any],
    agreement: Agreement,
    theta: NDArray[np.float64],
    tables: Mapping[str, Path],
    data: Path,
    baselines: bool,
    report: Callable[[Progress], None],
) -> dict[str, Any]:
    """The result with test scores and baselines, written again; as it was where there are no held-out patients.

    Args:
        out: folder of the run.
        result: the coordinator's result.
        tables: each hospital's training table.
        data: folder in which `<hospital>.test.csv` may lie.
        baselines: also fit pooled Cox and each hospital alone.
    """
    from deploy.baselines import compute_baselines, pooled
    from deploy.scores import c_index, integrated_brier
    from hospital_node.cohort import build_cohort
    from hospital_node.entropy import DiscreteGaussian, OsEntropy
    from hospital_node.table import read_table

    study = agreement.study
    held_out = [
        build_cohort(read_table(path, study.dictionary), study.dictionary, study.horizon_days)
        for path in (data / f"{hospital}.test.csv" for hospital in study.hospitals)
        if path.is_file()
    ]
    if not held_out:
        return dict(result)
    model = TrainedModel.of(agreement, theta)
    test = pooled(held_out)
    risk = model.risk(test.x)
    times = np.asarray(agreement.times_days, dtype=np.float64)[1:]
    scored: dict[str, Any] = {
        **result,
        "simulation_only": LABEL,
        "test": {
            "c_index": c_index(test, risk),
            "ibs": integrated_brier(test, model.survival(test.x, times), times),
            "n": len(test),
        },
    }
    if baselines:
        report(Progress("baselines", "pooled Cox and each hospital alone (simulation only)"))
        frames = {hospital: read_table(path, study.dictionary) for hospital, path in tables.items()}
        raw, staged = (
            {h: build_cohort(f, study.dictionary, study.horizon_days) for h, f in chosen.items()}
            for chosen in (frames, {h: _staged(agreement, h, f) for h, f in frames.items()})
        )
        computed = compute_baselines(agreement, raw, staged, held_out, DiscreteGaussian(), OsEntropy())
        scored["baselines"] = {
            "pooled_cox": {
                "c_index": computed.cox_c_index,
                "ibs": integrated_brier(test, computed.cox.survival(test.x, times), times),
                "coefficients": _cox_coefficients(
                    agreement, computed.cox.log_hr, computed.cox.standard_error
                ),
            },
            "local_only": {"c_index": computed.local_mean, "per_hospital": dict(computed.local_c_index)},
        }
    write_result(out, scored)
    (out / SIMULATION).write_bytes(
        canonical({"label": LABEL, "test": scored["test"], "baselines": scored.get("baselines", {})})
    )
    return scored


def _staged(agreement: Agreement, hospital: str, frame: pd.DataFrame) -> pd.DataFrame:
    """What a hospital alone would train on: its rows behind the stage, or synthetic patients of another drawing."""
    from hospital_node.entropy import DiscreteGaussian, OsEntropy
    from hospital_node.stage import apply_stage
    from hospital_node.synthesis.in_study import fresh_patients

    study = agreement.study
    if study.stage.kind not in SYNTHETIC:
        return apply_stage(frame, study)[0]
    rows = study.n_public[hospital]
    return fresh_patients(study, agreement.plan, frame, rows, DiscreteGaussian(), OsEntropy())


def _cox_coefficients(
    agreement: Agreement, log_hr: NDArray[np.float64], error: NDArray[np.float64]
) -> list[dict[str, Any]]:
    """Pooled Cox in the units of result.json; a column without variation has no standard error."""
    return [
        {
            "name": column.name,
            "log_hr": float(value / column.half_range),
            "se": None if np.isnan(spread) else float(spread / column.half_range),
        }
        for column, value, spread in zip(agreement.study.dictionary.design, log_hr, error, strict=True)
    ]

"""Runs on the real sets: recipe newton over all folds and noise draws, each beside Cox and beside the float reference (the gate).

Noise comes from the system, so that no two invocations agree; folds and hospitals are fixed. `--simulate` takes the whole path with secure
aggregation, ledgers and receipts; without it the hospitals' ring vectors are added in the open, which gives the same integers.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any

import numpy as np

from deploy.scores import c_index, integrated_brier
from privacy.agreement import Agreement, build
from privacy.grid import FloatArray
from privacy.trained_model import TrainedModel
from tests.bench.folded import float_reference, integer_path
from tests.bench.real_sets import FOLDS, Split, splits


def runs(
    dataset: str,
    mode: str,
    epsilon: float,
    repeats: int,
    *,
    recipe: str = "auto",
    folds: int = FOLDS,
    simulated: bool = False,
) -> Iterator[dict[str, Any]]:
    """Every run of one set under one condition; mode none draws nothing, so it runs once a fold."""
    for fold, split in enumerate(splits(dataset, mode, epsilon, recipe, folds)):
        agreement = build(split.study)
        # Inner boundaries: too little has happened before the third, too few are left at the last.
        times, test = np.asarray(agreement.times_days)[3:-1], split.held_out
        cox = c_index(test, test.x @ split.cox.log_hr)
        cox_ibs = integrated_brier(test, split.cox.survival(test.x, times), times)
        for run in range(1 if mode == "none" else repeats):
            theta = _simulated(split) if simulated else integer_path(agreement, split.train).result
            model = TrainedModel.of(agreement, theta)
            yield {
                "dataset": dataset,
                "mode": mode,
                "epsilon": None if mode == "none" else epsilon,
                "recipe": agreement.training.recipe,
                "curvature": _curvature(agreement),
                "columns": len(agreement.columns),
                "fold": fold,
                "run": run,
                "c_index": c_index(test, model.risk(test.x)),
                "cox_c_index": cox,
                "float_reference_c_index": _reference(agreement, split),
                "ibs": integrated_brier(test, model.survival(test.x, times), times),
                "cox_ibs": cox_ibs,
            }


def _curvature(agreement: Agreement) -> str | None:
    if agreement.training.recipe != "newton":
        return None
    return "public" if agreement.training.column_spread else "released"


def _reference(agreement: Agreement, split: Split) -> float:
    """The gate's other side; its noise protects nobody and comes fresh from the system like the product's."""
    theta = float_reference(agreement, split.train, np.random.default_rng()).result
    return c_index(split.held_out, TrainedModel.of(agreement, theta).risk(split.held_out.x))


def _simulated(split: Split) -> FloatArray:
    from deploy.simulate import simulate

    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        data.mkdir()
        for hospital, (train, _) in split.tables.items():
            train.to_csv(data / f"{hospital}.csv", index=False)
        out = Path(folder) / "out"
        done = simulate(split.study, data, out, lambda progress: None, baselines=False)
        assert done.failed is None, done.failed
        return TrainedModel.from_bytes((out / "model.json").read_bytes()).theta


def summary(results: Sequence[dict[str, Any]]) -> str:
    """One line for people: median and tenth percentile of the paired difference to Cox, and the gate."""
    first = results[0]
    lost = [r["c_index"] - r["cox_c_index"] for r in results]
    gate = [r["c_index"] - r["float_reference_c_index"] for r in results]
    error = stdev(lost) / len(lost) ** 0.5 if len(lost) > 1 else float("nan")
    gate_error = stdev(gate) / len(gate) ** 0.5 if len(gate) > 1 else float("nan")
    brier = [r["ibs"] - r["cox_ibs"] for r in results]
    return (
        f"{first['dataset']:10s} {first['mode']} epsilon {first['epsilon']}: {first['columns']} columns, {len(results)} runs, "
        f"C-index minus Cox' median {median(lost):+.4f}, p10 {float(np.quantile(lost, 0.1)):+.4f}, s.e. {error:.4f}; "
        f"integer path minus float reference {mean(gate):+.4f} (s.e. {gate_error:.4f}); "
        f"IBS minus Cox' {median(brier):+.4f} (Cox {first['cox_ibs']:.3f})"
    )

"""Runs on the real sets: recipe newton over all folds and noise draws, each beside Cox, Kaplan-Meier and the float reference (the gate).

Noise comes from the system, so that no two invocations agree; folds and hospitals are fixed. `--simulate` takes the whole path with secure
aggregation, ledgers and receipts; without it the hospitals' ring vectors are added in the open, which gives the same integers, and the
float reference adds the very noise that was in them. Where the public rule chose DP-SGD (few events in mode local) every run is simulated and
nothing is beside it but Cox and Kaplan-Meier.
"""

import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from statistics import mean, median, stdev
from time import perf_counter, process_time
from typing import Any

import numpy as np

from deploy.baselines import pooled
from deploy.scores import c_index, integrated_brier, kaplan_meier
from privacy.studies.agreement import Agreement, build
from privacy.studies.grid import FloatArray
from privacy.studies.trained_model import TrainedModel
from tests.bench.folded import float_reference, independent, integer_run, replayed
from tests.bench.real_sets import FOLDS, Split, splits

# Fold and number of a run.
Which = tuple[int, int]


def wanted(mode: str, repeats: int, folds: int = FOLDS) -> list[Which]:
    """All runs of a condition; mode none draws nothing, so it runs once a fold."""
    return [(fold, run) for fold in range(folds) for run in range(1 if mode == "none" else repeats)]


def runs(
    dataset: str,
    mode: str,
    epsilon: float,
    which: Collection[Which],
    *,
    recipe: str = "auto",
    simulated: bool = False,
) -> Iterator[dict[str, Any]]:
    """These runs of one set under one condition."""
    for fold, split in splits(dataset, mode, epsilon, recipe, {fold for fold, _ in which}):
        agreement = build(split.study)
        # Inner boundaries: too little has happened before the third, too few are left at the last.
        times, test = np.asarray(agreement.times_days)[3:-1], split.held_out
        beside = {
            "cox_c_index": c_index(test, test.x @ split.cox.log_hr),
            "cox_ibs": integrated_brier(test, split.cox.survival(test.x, times), times),
            "km_ibs": integrated_brier(test, _same_for_all(split, times), times),
        }
        for run in sorted(number for of, number in which if of == fold):
            clock, cpu = perf_counter(), process_time()
            # Averaged updates of DP-SGD are no statistic that could be added in the open or replayed.
            if agreement.training.sends_models:
                theta, noise, source = _simulated(split), None, "no replayed"
            elif simulated:
                theta, noise, source = _simulated(split), independent(np.random.default_rng()), "its own"
            else:
                made = integer_run(agreement, split.train)
                theta, noise, source = made.fit.result, replayed(made), "the same"
            model = TrainedModel.of(agreement, theta)
            reference = (
                TrainedModel.of(agreement, float_reference(agreement, split.train, noise).result)
                if noise is not None
                else None
            )
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
                "float_reference_c_index": reference and c_index(test, reference.risk(test.x)),
                # Of a logarithm of hazards or hazard ratios.
                "float_reference_largest": reference and float(np.abs(model.theta - reference.theta).max()),
                "reference_noise": source,
                "ibs": integrated_brier(test, model.survival(test.x, times), times),
                **beside,
                "seconds": perf_counter() - clock,
                "cpu_seconds": process_time() - cpu,
            }


def _same_for_all(split: Split, times_days: FloatArray) -> FloatArray:
    """Kaplan-Meier's curve of all training patients, predicted of every held-out one, (n, m)."""
    curve = kaplan_meier(pooled(list(split.train.values())), times_days)
    return np.tile(curve, (len(split.held_out), 1))


def _curvature(agreement: Agreement) -> str | None:
    if agreement.training.recipe != "newton":
        return None
    return "public" if agreement.training.column_spread else "released"


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
    """One line for people: median and tenth percentile of the paired difference to Cox, the gate, and Brier scores beside Kaplan-Meier's."""
    first = results[0]
    lost = [r["c_index"] - r["cox_c_index"] for r in results]
    brier = [r["ibs"] - r["cox_ibs"] for r in results]
    below = [r["ibs"] - r["km_ibs"] for r in results]
    return (
        f"{first['dataset']:10s} {first['mode']} epsilon {first['epsilon']}: {first['columns']} columns, {len(results)} runs, "
        f"C-index minus Cox' median {median(lost):+.4f}, p10 {float(np.quantile(lost, 0.1)):+.4f}, s.e. {_error(lost):.4f}; "
        f"{_gate(results)}; "
        f"IBS minus Cox' {median(brier):+.4f} (Cox {mean(r['cox_ibs'] for r in results):.3f}), "
        f"minus Kaplan-Meier's median {median(below):+.4f}, largest {max(below):+.4f} "
        f"(Kaplan-Meier {mean(r['km_ibs'] for r in results):.3f}; below it in {sum(b < 0 for b in below)} of {len(below)} runs); "
        f"{sum(r['seconds'] for r in results) / 60:.1f} minutes, {sum(r['cpu_seconds'] for r in results) / 60:.1f} of CPU"
    )


def _gate(results: Sequence[dict[str, Any]]) -> str:
    if results[0]["float_reference_c_index"] is None:
        return "DP-SGD in simulation, no float reference"
    gate = [r["c_index"] - r["float_reference_c_index"] for r in results]
    return (
        f"integer path minus float reference with {results[0]['reference_noise']} noise {mean(gate):+.1e} "
        f"(s.e. {_error(gate):.1e}, largest {max(map(abs, gate)):.1e}; coefficients within "
        f"{max(r['float_reference_largest'] for r in results):.1e})"
    )


def _error(values: Sequence[float]) -> float:
    return stdev(values) / len(values) ** 0.5 if len(values) > 1 else float("nan")

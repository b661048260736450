"""C-index of models that are trained on DP synthetic patients and tested on real ones: python -m tests.bench.synthesis --json"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from deploy.baselines import fit_cox, pooled
from deploy.scores import c_index
from hospital_node.cohort import Cohort
from hospital_node.entropy import DiscreteGaussian
from privacy.studies.grid import time_grid
from privacy.studies.study import Study
from privacy.synthesis.generate import generate
from privacy.synthesis.model import fit
from privacy.synthesis.releases import synthesis_plan
from privacy.synthesis.statistics import measure, outcome_cell
from tests.bench.real_sets import splits

DELTA = 1e-5
SETS = ("rott2", "flchain", "support2", "GBSG2", "TRACE")


@dataclass(frozen=True)
class Run:
    """One fold and one drawing."""

    dataset: str
    epsilon: float
    fold: int
    run: int
    patients: int
    c_index: float
    cox_c_index: float
    seconds: float


def runs(dataset: str, epsilon: float, folds: int, draws: int) -> Iterator[Run]:
    """Every fold and drawing of a set; the patients of all hospitals lie in one place."""
    for fold, split in splits(dataset, "local", epsilon, "dp_sgd", range(folds)):
        train, test = pooled(list(split.train.values())), split.held_out
        real = c_index(test, test.x @ split.cox.log_hr)
        for run in range(draws):
            begun = time.process_time()
            synthetic = synthesized(train, split.study, epsilon)
            seconds = time.process_time() - begun
            learned = fit_cox(synthetic)
            yield Run(
                dataset, epsilon, fold, run, len(train), c_index(test, test.x @ learned.log_hr), real, seconds
            )


def synthesized(patients: Cohort, study: Study, epsilon: float) -> Cohort:
    """As many synthetic patients as the noised count says."""
    plan = synthesis_plan(epsilon, DELTA, study.dictionary)
    grid = time_grid(study.horizon_days, study.intervals)
    statistics = measure(
        patients.x,
        outcome_cell(
            patients.exit_interval(grid), patients.event, patients.time >= grid[-1], study.intervals
        ),
        study.intervals,
        study.dictionary,
        plan,
        DiscreteGaussian(),
        lambda _release: None,
    )
    model = fit(statistics, study.dictionary, plan)
    drawn = generate(model, study.dictionary, max(model.patients, 1000), np.random.default_rng())
    return Cohort(drawn.x, drawn.time(grid), drawn.event)


def main() -> None:
    """JSON lines, then the mean of each set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", nargs="*", default=SETS)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    for dataset in asked.dataset:
        found = list(runs(dataset, asked.epsilon, asked.folds, asked.runs))
        if asked.json:
            for run in found:
                print(json.dumps(run.__dict__))
        mean = np.mean([run.c_index for run in found])
        print(
            f"{dataset}: synthetic {mean:.4f}, real {np.mean([run.cox_c_index for run in found]):.4f}",
            flush=True,
        )


if __name__ == "__main__":
    main()

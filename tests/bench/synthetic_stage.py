"""C-index of a whole study behind the stage `synthetic_dp`, by simulation: python -m tests.bench.synthetic_stage --dataset flchain"""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from deploy.simulate import simulate
from privacy.studies.study import parse_study
from tests.bench.real_sets import HOSPITALS, SETS, Split, splits, study_text

DELTA = 1e-5


@dataclass(frozen=True)
class Run:
    """One fold: five hospitals, each with a table of its own drawing."""

    dataset: str
    epsilon: float
    fold: int
    patients: int
    c_index: float
    cox_c_index: float
    local_only_c_index: float
    printed_epsilon: float


def stage_study(dataset: str, split: Split, epsilon: float) -> str:
    """The study file of the fold with the stage in front; nothing else pays."""
    text = study_text(dataset, "local", epsilon, "auto", split.study.n_public)
    stage = f'[privacy]\nmode = "local"\n\n[stage]\nkind = "synthetic_dp"\nepsilon = {epsilon:g}\ndelta = {DELTA:g}'
    return re.sub(r"\[privacy\][^\[]*", stage + "\n\n", text)


def runs(dataset: str, epsilon: float, folds: int) -> Iterator[Run]:
    """Every fold, through the real nodes and coordinator."""
    for fold, split in enumerate(splits(dataset, "local", epsilon, "auto", folds=folds)):
        study = parse_study(stage_study(dataset, split, epsilon), dataset)
        with TemporaryDirectory() as folder:
            data = Path(folder)
            for hospital in HOSPITALS:
                for part, name in zip(split.tables[hospital], ("csv", "test.csv"), strict=True):
                    part.to_csv(data / f"{hospital}.{name}", index=False)
            done = simulate(study, data, data / "out", lambda _: None)
        result = done.result
        patients = sum(len(part[0]) for part in split.tables.values())
        yield Run(
            dataset,
            epsilon,
            fold,
            patients,
            result["test"]["c_index"],
            result["baselines"]["pooled_cox"]["c_index"],
            result["baselines"]["local_only"]["c_index"],
            result["guarantee"]["epsilon"],
        )


def main() -> None:
    """JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", nargs="*", choices=SETS, default=("flchain",))
    parser.add_argument("--epsilon", type=float, nargs="*", default=(1.0, 3.0))
    parser.add_argument("--folds", type=int, default=1)
    asked = parser.parse_args()
    for dataset in asked.dataset:
        for epsilon in asked.epsilon:
            for run in runs(dataset, epsilon, asked.folds):
                print(json.dumps(asdict(run)), flush=True)


if __name__ == "__main__":
    main()

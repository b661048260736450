"""What privacy costs in accuracy: `python -m tests.bench.utility --json`, one JSON object a run, every run printed.

By default ACTG 175 in the demo's four hospitals under recipe auto; `--dataset` takes real sets (`real_utility`). Each split draws hospitals and held-out patients anew; each run draws noise anew.
The reference is Cox regression on all training patients as they are, without the anonymity stage.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import numpy as np

from deploy import actg175
from deploy.baselines import CoxFit, fit_cox, pooled, train_alone
from deploy.scores import c_index, integrated_brier, kaplan_meier
from hospital_node.cohort import Cohort, build_cohort
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.local_study import LocalStudy
from hospital_node.stage import apply_stage
from hospital_node.table import read_table
from privacy.studies.agreement import Agreement, build
from privacy.studies.grid import FloatArray
from privacy.studies.life_table import baseline
from privacy.studies.study import Study, parse_study
from privacy.studies.trained_model import TrainedModel, layout_of
from tests.bench.float_reference import federated_average
from tests.bench.real_sets import SETS

DATASET = "ACTG175"


@dataclass(frozen=True)
class Data:
    """One split.

    Attributes:
        train: each hospital's patients behind the study's stage.
        held_out: all hospitals' test patients as they are.
        cox: fitted on the training patients as they are.
    """

    train: Mapping[str, Cohort]
    held_out: Cohort
    cox: CoxFit


def study_of(mode: str, epsilon: float, family: str) -> Study:
    """The demo's study; without noise also without its stage, so that the fit itself is compared."""
    text = actg175.study_text()
    changes = {
        "epsilon = 3": f"epsilon = {epsilon:g}",
        'family = "piecewise_exponential"': f'family = "{family}"',
    }
    if mode == "none":
        changes |= {
            'mode = "local"': 'mode = "none"',
            'kind = "generalize"': 'kind = "none"',
            'strategy = "fedavg"': 'strategy = "fedadam"',
        }
    for old, new in changes.items():
        assert old in text, f"the demo's study no longer says {old}"
        text = text.replace(old, new)
    return parse_study(text, "utility benchmark")


def load(study: Study, seed: int) -> Data:
    """A split of the demo's data, read as a hospital reads its table."""
    raw, train, test = [], {}, []
    with tempfile.TemporaryDirectory() as folder:
        for hospital, rows in actg175.split(actg175.read_source(), seed).items():
            for part, frame in (("train", rows.train), ("test", rows.test)):
                path = Path(folder) / f"{hospital}.{part}.csv"
                frame.to_csv(path, index=False)
                table = read_table(path, study.dictionary)
                patients = build_cohort(table, study.dictionary, study.horizon_days)
                if part == "test":
                    test.append(patients)
                    continue
                raw.append(patients)
                train[hospital] = build_cohort(
                    apply_stage(table, study)[0], study.dictionary, study.horizon_days
                )
    return Data(train, pooled(test), fit_cox(pooled(raw)))


def federate(agreement: Agreement, data: Data) -> FloatArray:
    """The study's rounds by every hospital's own `LocalStudy`, averaged in the open: the one function to replace.

    Secure aggregation adds nothing to accuracy but rounding to 2^-32; `deploy.simulate` runs it for real.
    """
    studies = [
        LocalStudy.of(agreement, hospital, cohort, DiscreteGaussian(), OsEntropy())
        for hospital, cohort in data.train.items()
    ]
    K, weights = agreement.study.intervals, [study.n_public for study in studies]
    table = np.sum([study.life_table() for study in studies], axis=0)
    models = [layout_of(agreement).start(baseline(table[:K], table[K:]))]
    server = _Server(agreement, len(studies))
    for number in range(1, agreement.training.rounds + 1):
        answer = np.average([study.train(models[-1], number) for study in studies], axis=0, weights=weights)
        models.append(server.step(number, models[-1], answer))
    return np.asarray(np.mean(models[-agreement.training.average_last :], axis=0))


class _Server:
    """Flower's strategy, fed with one reply a round that holds the mean, as the coordinator feeds it."""

    def __init__(self, agreement: Agreement, hospitals: int) -> None:
        from coordinator.flower_link import adopt_identity
        from coordinator.strategies import make_strategy

        adopt_identity()
        self._strategy = make_strategy(agreement.training, hospitals)

    def step(self, number: int, theta: FloatArray, answer: FloatArray) -> FloatArray:
        from flwr.app import Array, ArrayRecord, Message, MetricRecord, RecordDict

        # What a Flower strategy notes when it sends the model out.
        self._strategy.current_arrays = {"theta": theta}
        content = RecordDict(
            {
                "arrays": ArrayRecord({"theta": Array(answer)}),
                "metrics": MetricRecord({"num-examples": 1}),
            }
        )
        arrays, _ = self._strategy.aggregate_train(number, [Message(content, 1, "train")])
        return np.asarray(arrays["theta"].numpy(), dtype=np.float64)


def runs(mode: str, epsilon: float, family: str, folds: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Every run of one condition; mode none draws nothing, so it runs once a fold."""
    agreement = build(study_of(mode, epsilon, family))
    times = np.asarray(agreement.times_days)[3:-1]
    for fold in range(folds):
        data = load(agreement.study, actg175.SEED + fold)
        x, km = data.held_out.x, kaplan_meier(pooled(list(data.train.values())), times)
        for run in range(repeats if mode == "local" else 1):
            model = TrainedModel.of(agreement, federate(agreement, data))
            yield {
                "dataset": DATASET,
                "mode": mode,
                "family": family,
                "stage": agreement.study.stage.kind,
                "epsilon": epsilon if mode == "local" else None,
                "fold": fold,
                "run": run,
                "c_index": c_index(data.held_out, model.risk(x)),
                "cox_c_index": c_index(data.held_out, x @ data.cox.log_hr),
                "float_reference_c_index": _float_reference(agreement, data),
                "local_only_c_index": _local_only(agreement, data),
                "ibs": integrated_brier(data.held_out, model.survival(x, times), times),
                "cox_ibs": integrated_brier(data.held_out, data.cox.survival(x, times), times),
                "km_ibs": integrated_brier(data.held_out, np.tile(km, (len(x), 1)), times),
            }


def _float_reference(agreement: Agreement, data: Data) -> float | None:
    if agreement.plan is None or agreement.training.hidden:
        return None
    grid, cohorts = np.asarray(agreement.times_days), list(data.train.values())
    beta = federated_average(
        agreement,
        [cohort.x for cohort in cohorts],
        [cohort.exposure(grid) for cohort in cohorts],
        [cohort.events(grid) for cohort in cohorts],
        [agreement.study.about.n_public[hospital] for hospital in data.train],
        # The reference protects nobody; its noise comes fresh from the system like the product's.
        np.random.default_rng(),
    )
    return c_index(data.held_out, data.held_out.x @ beta)


def _local_only(agreement: Agreement, data: Data) -> float | None:
    """Mean over hospitals of the model each would have alone, under the same plan."""
    if agreement.plan is None:
        return None
    layout, scores = layout_of(agreement), []
    for hospital, cohort in data.train.items():
        study = LocalStudy.of(agreement, hospital, cohort, DiscreteGaussian(), OsEntropy())
        scores.append(c_index(data.held_out, layout.risk(train_alone(study, agreement), data.held_out.x)))
    return mean(scores)


def summary(results: list[dict[str, Any]]) -> str:
    """One line for people."""
    differences = [result["c_index"] - result["cox_c_index"] for result in results]
    first = results[0]
    line = f"{first['dataset']} {first['mode']} {first['family']} epsilon {first['epsilon']}: {len(results)} runs, "
    line += f"C-index minus Cox' {mean(differences):+.4f}"
    if len(differences) > 1:
        line += f" (s.e. {stdev(differences) / len(differences) ** 0.5:.4f}, worst {min(differences):+.4f})"
    for key, name in (("float_reference_c_index", "float reference"), ("local_only_c_index", "local only")):
        if first[key] is not None:
            line += f", {name} {mean(result[key] - result['cox_c_index'] for result in results):+.4f}"
    return (
        line + f", IBS {mean(r['ibs'] for r in results):.4f} (Cox {mean(r['cox_ibs'] for r in results):.4f}, "
        f"Kaplan-Meier {mean(r['km_ibs'] for r in results):.4f})"
    )


def _real_sets(asked: argparse.Namespace) -> None:
    """The study's recipe, or the one asked for, on sets of SurvSet, which the bench extra installs."""
    from tests.bench import real_utility

    version = _version()
    for dataset in SETS if asked.dataset == ["all"] else asked.dataset:
        for mode in asked.mode:
            condition = {
                "dataset": dataset,
                "mode": mode,
                "epsilon": None if mode == "none" else asked.epsilon,
                "asked_recipe": asked.recipe,
                "simulated": asked.simulate,
                "version": version,
            }
            results = _already(asked.out, condition)
            done = {(result["fold"], result["run"]) for result in results}
            missing = [w for w in real_utility.wanted(mode, asked.runs, asked.folds) if w not in done]
            for found in real_utility.runs(
                dataset, mode, asked.epsilon, missing, recipe=asked.recipe, simulated=asked.simulate
            ):
                results.append(condition | found)
                if asked.out:
                    with asked.out.open("a", encoding="utf-8") as file:
                        file.write(json.dumps(results[-1]) + "\n")
                if asked.json:
                    print(json.dumps(results[-1]), flush=True)
            print(real_utility.summary(results), file=sys.stderr if asked.json else sys.stdout, flush=True)


def _already(out: Path | None, condition: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Runs of this condition that an earlier invocation of the same version wrote; a line that was cut off is no run."""
    if out is None or not out.exists():
        return []
    found = []
    for line in out.read_text(encoding="utf-8").splitlines():
        try:
            result = json.loads(line)
        except json.JSONDecodeError:
            continue
        if all(result.get(key) == value for key, value in condition.items()):
            found.append(result)
    return found


def _version() -> str:
    """The commit, and whether files differ from it."""
    command = ["git", "describe", "--always", "--dirty"]
    return subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    ).stdout.strip()


def main() -> None:
    """Runs all conditions asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a run; the summary goes to stderr"
    )
    parser.add_argument(
        "--mode", nargs="+", default=["local", "none"], choices=["local", "none", "distributed"]
    )
    parser.add_argument(
        "--dataset",
        nargs="+",
        default=[DATASET],
        help=f"ACTG175 or real sets of SurvSet: {', '.join(SETS)}, all",
    )
    parser.add_argument(
        "--simulate",
        action="store_true",
        help="real sets through the whole simulation, secure aggregation included",
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="real sets: append each run to this file as it is done, and skip those that it has of this commit",
    )
    parser.add_argument("--recipe", default="auto", choices=["auto", "newton", "adam"], help="of real sets")
    parser.add_argument("--family", default="piecewise_exponential", choices=["piecewise_exponential", "mlp"])
    parser.add_argument("--epsilon", type=float, default=3.0)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=10)
    asked = parser.parse_args()
    if asked.dataset != [DATASET]:
        _real_sets(asked)
        return
    for mode in asked.mode:
        results = []
        for result in runs(mode, asked.epsilon, asked.family, asked.folds, asked.runs):
            results.append(result)
            if asked.json:
                print(json.dumps(result), flush=True)
        print(summary(results), file=sys.stderr if asked.json else sys.stdout, flush=True)


if __name__ == "__main__":
    main()

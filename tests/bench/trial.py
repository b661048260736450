"""The treatment effect from the arms alone: `python -m tests.bench.trial --json`, one JSON object a run, every run printed.

ACTG 175 (all 2,139 patients, five hospitals by age band with a fifth mixed) against Cox regression on the same patients, and simulated
trials of the same size with known effects, whose 95 % intervals are counted. Hospitals' ring vectors are added in the open, which
gives the integers that secure aggregation gives; the noise comes from the system.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from statistics import mean, stdev
from typing import Any

import numpy as np

from deploy import actg175
from deploy.baselines import fit_cox, pooled
from hospital_node.cohort import Cohort
from privacy.recipes.intervals import Estimate
from privacy.studies.agreement import Agreement, build
from privacy.studies.study import parse_study
from tests.bench.folded import integer_path

HOSPITALS = ("a", "b", "c", "d", "e")
HORIZON_DAYS = 1095
# Of the simulated trials: as ACTG 175's own.
LOG_HR = (-0.7, -0.6, -0.5)
SIMULATED_PATIENTS = 2139


def study_text(mode: str, epsilon: float, allocation: Mapping[str, float], n_public: int) -> str:
    """The study file of a trial in five hospitals with `n_public` declared patients each."""
    parts = ", ".join(f'"{arm}" = {share:g}' for arm, share in allocation.items())
    sizes = ", ".join(f"{hospital} = {n_public}" for hospital in HOSPITALS)
    arms = ", ".join(f'"{arm}"' for arm in allocation)
    return f"""
[study]
id = "trial"
purpose = "benchmark"
horizon_days = {HORIZON_DAYS}
n_public = {{{sizes}}}
[cohort]
threshold = 4
colluding = 1
[privacy]
mode = "{mode}"
epsilon = {epsilon:g}
delta = 1e-5
[model]
trial = {{arm = "arm", allocation = {{{parts}}}}}
[[field]]
name = "patient"
type = "category"
role = "id"
purpose = "benchmark"
[[field]]
name = "days"
type = "float"
role = "time"
unit = "days"
purpose = "benchmark"
[[field]]
name = "event"
type = "int"
role = "event"
purpose = "benchmark"
[[field]]
name = "arm"
type = "category"
role = "feature"
purpose = "benchmark"
categories = [{arms}]
"""


def agreement_of(
    mode: str, epsilon: float, allocation: Mapping[str, float], n_public: int = 430
) -> Agreement:
    """The agreement of such a trial."""
    return build(parse_study(study_text(mode, epsilon, allocation, n_public), "trial"))


EQUAL = {"0": 1.0, "1": 1.0, "2": 1.0, "3": 1.0}


def real_patients() -> dict[str, Cohort]:
    """ACTG 175 in five hospitals."""
    source = actg175.read_source()
    rng = np.random.default_rng(actg175.SEED)
    band = (source["age"].rank(method="first").to_numpy() - 1) * len(HOSPITALS) // len(source)
    mixed = rng.random(len(source)) < actg175.MIXING
    place = np.where(mixed, rng.integers(0, len(HOSPITALS), len(source)), band.astype(int))
    time = np.maximum(source["days"].to_numpy(dtype=np.float64), 0.5)
    event = (source["cens"].to_numpy() == 1) & (time <= HORIZON_DAYS)
    x = (source["arms"].to_numpy()[:, None] == np.arange(1, 4)).astype(np.float64)
    everybody = Cohort(x, np.minimum(time, HORIZON_DAYS), event.astype(np.int64))
    return {h: everybody.select(np.flatnonzero(place == i)) for i, h in enumerate(HOSPITALS)}


def simulated_patients(
    rng: np.random.Generator, shares: Sequence[float], log_hr: Sequence[float], patients: int, hazard: float
) -> dict[str, Cohort]:
    """A trial with proportional hazards, in five hospitals that differ in their baseline.

    Args:
        shares: of the arms, adding up to 1.
        log_hr: of arms 1 and on, against arm 0.
        patients: in all.
        hazard: cumulative, of the reference arm over the horizon.
    """
    arm = rng.choice(len(shares), patients, p=shares)
    place = np.arange(patients) % len(HOSPITALS)
    effect = np.concatenate([[0.0], log_hr])[arm]
    # Weibull times, shape 1.2.
    time = HORIZON_DAYS * (rng.exponential(size=patients) / (hazard * np.exp(effect))) ** (1 / 1.2)
    until = np.minimum(rng.uniform(0.5, 1.5, patients) * HORIZON_DAYS, HORIZON_DAYS)
    x = (arm[:, None] == np.arange(1, len(shares))).astype(np.float64)
    everybody = Cohort(x, np.maximum(np.minimum(time, until), 0.5), (time <= until).astype(np.int64))
    return {h: everybody.select(np.flatnonzero(place == i)) for i, h in enumerate(HOSPITALS)}


def estimate_of(agreement: Agreement, patients: Mapping[str, Cohort]) -> Estimate:
    """One trial's effects by the integer path."""
    known = integer_path(agreement, patients).estimate
    assert known is not None
    return known


def _row(kind: str, epsilon: float, run: int, known: Estimate, truth: Sequence[float]) -> dict[str, Any]:
    interval = known.interval
    covered = (
        None if interval is None else [bool(a <= t <= b) for (a, b), t in zip(interval, truth, strict=True)]
    )
    error = None if known.standard_error is None else known.standard_error.tolist()
    return {
        "dataset": kind,
        "epsilon": epsilon,
        "run": run,
        "log_hr": known.log_hr.tolist(),
        "se": error,
        "reference": list(truth),
        "covered": covered,
        "reason": known.reason,
    }


def runs(epsilon: float, repeats: int, simulated: int) -> Iterator[dict[str, Any]]:
    """`repeats` noise draws on ACTG 175 beside Cox' estimates, then `simulated` trials beside the truth."""
    agreement = agreement_of("distributed", epsilon, EQUAL)
    real = real_patients()
    cox = fit_cox(pooled(list(real.values())))
    for run in range(repeats):
        yield _row("ACTG175", epsilon, run, estimate_of(agreement, real), cox.log_hr.tolist())
    rng = np.random.default_rng(1)
    for run in range(simulated):
        patients = simulated_patients(rng, agreement.training.allocation, LOG_HR, SIMULATED_PATIENTS, 0.45)
        yield _row("simulated", epsilon, run, estimate_of(agreement, patients), LOG_HR)


def summary(rows: Sequence[Mapping[str, Any]]) -> str:
    """One line for people, about arm 1 against 0 and about the coverage of all arms."""
    first = rows[0]
    effects = [row["log_hr"][0] for row in rows]
    spread = stdev(effects) if len(effects) > 1 else float("nan")
    line = f"{first['dataset']} epsilon {first['epsilon']:g}: {len(rows)} runs, log HR of arm 1 {mean(effects):+.3f}, sd over runs {spread:.3f}"
    known = [row for row in rows if row["se"] is not None]
    if known:
        line += f", claimed standard error {mean(row['se'][0] for row in known):.3f}"
        covered = [hit for row in known for hit in row["covered"]]
        line += f", 95 % intervals hold the reference {mean(covered):.3f} ({len(known)} with an interval)"
    return line + f"; reference {first['reference'][0]:+.3f}"


def main() -> None:
    """Runs all conditions asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--json", action="store_true", help="one JSON object a run; the summary goes to stderr"
    )
    parser.add_argument("--epsilon", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--runs", type=int, default=50)
    parser.add_argument("--simulated", type=int, default=200)
    asked = parser.parse_args()
    for epsilon in asked.epsilon:
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in runs(epsilon, asked.runs, asked.simulated):
            rows.setdefault(row["dataset"], []).append(row)
            if asked.json:
                print(json.dumps(row), flush=True)
        for kind in rows.values():
            print(summary(kind), file=sys.stderr if asked.json else sys.stdout, flush=True)


if __name__ == "__main__":
    main()

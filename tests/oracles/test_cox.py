"""Without noise the piecewise-exponential model must order patients as Cox regression does, on real data."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from lifelines import datasets
from scipy.optimize import minimize

from deploy import actg175
from deploy.baselines import fit_cox
from deploy.scores import c_index, integrated_brier
from hospital_node.cohort import Cohort
from hospital_node.survival.follow_up import FollowUp, exit_counts
from hospital_node.survival.piecewise import PiecewiseExponential
from privacy.studies.grid import time_grid
from privacy.studies.layout import Layout
from privacy.studies.life_table import baseline

INTERVALS = 10


def table(frame: pd.DataFrame, time: str, event: str) -> Cohort:
    covariates = pd.get_dummies(frame.drop(columns=[time, event]), drop_first=True).astype(np.float64)
    scaled = 2 * (covariates - covariates.min()) / (covariates.max() - covariates.min()) - 1
    return Cohort(
        scaled.to_numpy(), frame[time].to_numpy(dtype=np.float64), frame[event].to_numpy(dtype=np.int64)
    )


DATA: dict[str, Callable[[], Cohort]] = {
    "rossi": lambda: table(datasets.load_rossi(), "week", "arrest"),
    "gbsg2": lambda: table(datasets.load_gbsg2(), "time", "cens"),
    "ACTG175": lambda: table(actg175.read_source(), "days", "cens"),
    "lung": lambda: table(datasets.load_lung().dropna().drop(columns="inst"), "time", "status"),
}


@pytest.mark.parametrize("name", DATA)
def test_c_index_and_brier_are_those_of_cox(name: str) -> None:
    patients = DATA[name]()
    grid = time_grid(float(patients.time.max()), INTERVALS)
    columns = tuple(f"x{j}" for j in range(patients.x.shape[1]))
    layout = Layout(INTERVALS, columns)
    model, on_grid = PiecewiseExponential(layout), FollowUp.of(patients, grid)
    counts = exit_counts(patients, grid).astype(np.float64)
    fit = minimize(
        lambda theta: model.loss(theta, on_grid),
        layout.start(baseline(counts[:INTERVALS], counts[INTERVALS:])),
        jac=lambda theta: -model.gradient_sum(theta, on_grid),
        method="L-BFGS-B",
        options={"maxiter": 2000, "ftol": 1e-13},
    )
    cox = fit_cox(patients)
    ours = c_index(patients, layout.risk(fit.x, patients.x))
    assert ours == pytest.approx(c_index(patients, patients.x @ cox.log_hr), abs=0.001)

    times = grid[3:9]
    hazard = np.exp(layout.alpha(fit.x) + layout.risk(fit.x, patients.x)[:, None])
    survival = np.exp(-np.cumsum(hazard, axis=1))[:, 2:8]
    reference = integrated_brier(patients, cox.survival(patients.x, times), times)
    assert integrated_brier(patients, survival, times) == pytest.approx(reference, abs=0.002)

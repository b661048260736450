"""Curves, tests and metrics from exit histograms against lifelines on the same patients, one row each."""

import numpy as np
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter, NelsonAalenFitter
from lifelines.statistics import multivariate_logrank_test
from lifelines.utils import concordance_index, restricted_mean_survival_time

from deploy.scores import integrated_brier
from hospital_node.cohort import Cohort
from privacy.analytics import evaluation
from privacy.analytics.asks import RISK_BINS
from privacy.analytics.log_rank import log_rank
from privacy.analytics.survival import Cells, curve
from privacy.studies.grid import time_grid

K, TAU, N = 10, 1000.0, 3000
GRID = time_grid(TAU, K)


@pytest.fixture(scope="module")
def patients() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    x = rng.normal(0, 1, N)
    group = rng.integers(0, 3, N)
    died = rng.exponential(1500 * np.exp(-0.8 * x + 0.3 * (group == 2)))
    left = rng.uniform(150, 1600, N)
    time = np.minimum(np.minimum(died, left), TAU)
    event = ((died <= left) & (died <= TAU)).astype(int)
    entry = np.where(rng.random(N) < 0.4, rng.uniform(0, 0.8, N) * time, 0.0)
    return {"x": x, "group": group, "time": time, "event": event, "entry": entry}


def intervals(days: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(GRID, days, side="left") - 1, 0, K - 1)


def histogram(patients: dict[str, np.ndarray], groups: int) -> np.ndarray:
    cells = np.zeros((groups, 2 * K))
    code = np.where(patients["event"] == 1, 0, K) + intervals(patients["time"])
    np.add.at(cells, (patients["group"] if groups > 1 else np.zeros(N, dtype=int), code), 1)
    return cells


def on_grid(patients: dict[str, np.ndarray]) -> np.ndarray:
    return GRID[intervals(patients["time"]) + 1]


def test_kaplan_meier_with_its_band_and_nelson_aalen(patients: dict[str, np.ndarray]) -> None:
    cells = Cells(histogram(patients, 1), 0.0, K)
    ours = curve(cells.values[0], cells, GRID)
    km = KaplanMeierFitter().fit(on_grid(patients), patients["event"])
    np.testing.assert_allclose(ours.survival, km.predict(GRID[1:]).to_numpy(), atol=1e-6)
    band = km.confidence_interval_.loc[GRID[1:]].to_numpy()
    np.testing.assert_allclose(ours.interval, band, atol=1e-6)
    aalen = NelsonAalenFitter(nelson_aalen_smoothing=False).fit(on_grid(patients), patients["event"])
    np.testing.assert_allclose(
        ours.hazard, aalen.cumulative_hazard_.loc[GRID[1:]].to_numpy()[:, 0], atol=1e-6
    )
    np.testing.assert_allclose(ours.at_risk, km.event_table.loc[GRID[1:], "at_risk"], atol=1e-6)


def test_the_restricted_mean_is_near_that_of_exact_times(patients: dict[str, np.ndarray]) -> None:
    cells = Cells(histogram(patients, 1), 0.0, K)
    exact = KaplanMeierFitter().fit(patients["time"], patients["event"])
    ours = curve(cells.values[0], cells, GRID).restricted_mean
    assert ours == pytest.approx(restricted_mean_survival_time(exact, TAU), rel=0.02)


def test_late_entry(patients: dict[str, np.ndarray]) -> None:
    left = intervals(patients["time"])
    came = np.minimum(np.clip(np.searchsorted(GRID, patients["entry"], side="right") - 1, 0, K - 1), left)
    entries = np.bincount(came, minlength=K).astype(float)
    cells = Cells(np.hstack([histogram(patients, 1)[0], entries])[None], 0.0, K)
    ours = curve(cells.values[0], cells, GRID)
    km = KaplanMeierFitter().fit(GRID[left + 1], patients["event"], entry=GRID[came])
    np.testing.assert_allclose(ours.survival, km.predict(GRID[1:]).to_numpy(), atol=1e-6)


@pytest.mark.parametrize("groups", [2, 3])
def test_log_rank(patients: dict[str, np.ndarray], groups: int) -> None:
    folded = patients | {"group": np.minimum(patients["group"], groups - 1)}
    ours = log_rank(Cells(histogram(folded, groups), 0.0, K))
    theirs = multivariate_logrank_test(on_grid(folded), folded["group"], folded["event"])
    assert ours is not None
    assert ours.statistic == pytest.approx(theirs.test_statistic, abs=1e-6)
    assert ours.p_value == pytest.approx(theirs.p_value, abs=1e-6)
    assert ours.freedom == groups - 1


@pytest.fixture(scope="module")
def evaluated(patients: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray, float, float]:
    """Table of the patients by risk bin under a proportional model, its log hazards and predictor."""
    import pandas as pd

    frame = pd.DataFrame({"time": patients["time"], "event": patients["event"], "x": patients["x"]})
    cox = CoxPHFitter().fit(frame, "time", "event")
    risk = float(cox.params_["x"]) * patients["x"]
    hazard = -np.log(cox.predict_survival_function(pd.DataFrame({"x": [0.0]}), GRID[1:]).to_numpy()[:, 0])
    log_hazards = np.log(np.diff(np.concatenate([[0.0], hazard])))
    mean, sd = float(risk.mean()), float(risk.std())
    table = np.zeros((2, RISK_BINS, K))
    bins = np.searchsorted(evaluation.edges(mean, sd), risk)
    np.add.at(table, (1 - patients["event"], bins, intervals(patients["time"])), 1)
    return table, risk, log_hazards, mean, sd


def test_the_c_index_is_lifelines_on_the_table_and_near_it_on_the_patients(
    patients: dict[str, np.ndarray], evaluated: tuple[np.ndarray, ...]
) -> None:
    table, risk, _, mean, sd = evaluated
    ours = evaluation.c_index(table, 0.0)
    bins = np.searchsorted(evaluation.edges(mean, sd), risk)
    binned = concordance_index(on_grid(patients), -bins, patients["event"])
    assert ours["value"] == pytest.approx(binned, abs=1e-6)
    exact = concordance_index(patients["time"], -risk, patients["event"])
    assert ours["value"] == pytest.approx(exact, abs=0.008)


def test_the_brier_score_is_near_the_patients_own(
    patients: dict[str, np.ndarray], evaluated: tuple[np.ndarray, ...]
) -> None:
    table, risk, log_hazards, mean, sd = evaluated
    model = evaluation.predicted(log_hazards, mean, sd)
    ours = evaluation.brier(table, 0.0, model, GRID)
    times = GRID[1:-1]
    survival = np.exp(-np.cumsum(np.exp(log_hazards))[None, :-1] * np.exp(risk)[:, None])
    cohort = Cohort(np.zeros((N, 1)), patients["time"], patients["event"])
    assert ours["ibs"] == pytest.approx(integrated_brier(cohort, survival, times), abs=0.005)
    assert ours["ibs"] < ours["ibs_kaplan_meier"]


def test_a_fitted_model_is_calibrated_and_a_shifted_one_is_not(evaluated: tuple[np.ndarray, ...]) -> None:
    table, _, log_hazards, mean, sd = evaluated
    ratio = evaluation.calibration(table, 0.0, log_hazards, mean, sd, GRID)["observed_over_expected"]
    assert ratio["value"] == pytest.approx(1.0, abs=0.04)
    wrong = evaluation.calibration(table, 0.0, log_hazards + 0.4, mean, sd, GRID)["observed_over_expected"]
    assert wrong["value"] == pytest.approx(np.exp(-0.4), abs=0.04)
    assert not wrong["ci95"][0] <= 1 <= wrong["ci95"][1]


def test_the_standard_error_of_the_c_index_is_that_of_resampled_patients_and_noise(
    evaluated: tuple[np.ndarray, ...],
) -> None:
    table = evaluated[0]
    rng, sd = np.random.default_rng(12), 6.0
    shares = table.ravel() / table.sum()
    drawn = [
        rng.multinomial(N, shares).reshape(table.shape) + sd * rng.standard_normal(table.shape)
        for _ in range(400)
    ]
    values = np.array([evaluation.c_index(cells, sd)["value"] for cells in drawn])
    error = float(np.mean([evaluation.c_index(cells, sd)["se"] for cells in drawn]))
    exact = evaluation.c_index(table, 0.0)
    assert values.mean() == pytest.approx(exact["value"], abs=0.003)
    assert values.std() == pytest.approx(error, rel=0.12)
    # The noise is a large part of it: leaving it out would not pass.
    assert exact["se"] < 0.8 * error


def test_the_standard_error_of_the_brier_score_counts_the_noise(evaluated: tuple[np.ndarray, ...]) -> None:
    table, _, log_hazards, mean, sd_of_risk = evaluated
    model = evaluation.predicted(log_hazards, mean, sd_of_risk)
    rng, sd = np.random.default_rng(13), 6.0
    shares = table.ravel() / table.sum()
    told = [
        evaluation.brier(
            rng.multinomial(N, shares).reshape(table.shape) + sd * rng.standard_normal(table.shape),
            sd,
            model,
            GRID,
        )
        for _ in range(60)
    ]
    values = np.array([row["ibs"] for row in told])
    assert values.std() == pytest.approx(float(np.mean([row["se"] for row in told])), rel=0.3)
    exact = evaluation.brier(table, 0.0, model, GRID)
    assert values.mean() == pytest.approx(exact["ibs"], abs=0.003)
    assert exact["se"] < 0.8 * values.std()

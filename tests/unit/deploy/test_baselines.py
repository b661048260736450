from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from deploy.baselines import compute_baselines, fit_cox, pooled
from deploy.scores import c_index
from hospital_node.cohort import Cohort
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from privacy.guarantees.plan import DpPlan, Release
from privacy.studies.agreement import Agreement, build
from privacy.studies.study import parse_study
from privacy.studies.training import Training, resolve_training
from tests.unit.hospital_node.survival.patients import made_up_cohort


def demo(mode: str) -> Agreement:
    text = files("deploy").joinpath("actg175.toml").read_text(encoding="utf-8")
    return build(parse_study(text.replace('mode = "local"', f'mode = "{mode}"'), "demo"))


def widened(seed: int, n: int = 120) -> Cohort:
    cohort = made_up_cohort(n, seed)
    x = np.zeros((n, 11))
    x[:, :3] = cohort.x
    return Cohort(x, cohort.time, cohort.event)


TRAIN = {name: widened(seed) for seed, name in enumerate(("north", "east", "south", "west"))}
TEST = [widened(seed) for seed in (10, 11)]


def test_cox_finds_the_risk_and_leaves_constant_columns_at_zero() -> None:
    fit = fit_cox(pooled(list(TRAIN.values())))
    assert fit.log_hr[0] == pytest.approx(1.5, abs=0.3)
    assert (fit.log_hr[3:] == 0).all()
    assert np.isnan(fit.standard_error[3:]).all()
    assert 0 < fit.standard_error[0] < 0.3


def test_cox_curves_agree_with_lifelines() -> None:
    import pandas as pd
    from lifelines import CoxPHFitter

    patients = made_up_cohort(200)
    table = pd.DataFrame(patients.x, columns=["a", "b", "c"]).assign(t=patients.time, e=patients.event)
    theirs = CoxPHFitter(penalizer=1e-5).fit(table, "t", "e")
    # At times of events only: between them lifelines interpolates Breslow's steps.
    times = np.sort(patients.time[patients.event == 1])[[3, 40, 80]]
    expected = theirs.predict_survival_function(table[["a", "b", "c"]], times=times).to_numpy().T
    np.testing.assert_allclose(fit_cox(patients).survival(patients.x, times), expected, atol=1e-6)


def test_without_a_plan_the_hospitals_alone_fit_cox() -> None:
    result = compute_baselines(demo("none"), TRAIN, TRAIN, TEST, DiscreteGaussian(), OsEntropy())
    assert result.cox_c_index > 0.65
    held_out = pooled(TEST)
    assert result.local_c_index["east"] == c_index(held_out, held_out.x @ fit_cox(TRAIN["east"]).log_hr)


def test_alone_under_the_plan_a_hospital_pays_in_accuracy() -> None:
    releases = (
        Release("life_table", "gaussian", 1e-6),
        Release("train", "poisson_gaussian", 1e-6, sample_rate=0.1, steps=200),
    )
    quiet = replace(demo("none"), plan=DpPlan(releases, 1e6, 1e-5), training=demo_training())
    loud = replace(quiet, plan=DpPlan(tuple(replace(r, noise_multiplier=200.0) for r in releases), 0.1, 1e-5))
    exact, noisy = (
        compute_baselines(agreement, TRAIN, TRAIN, TEST, DiscreteGaussian(), OsEntropy())
        for agreement in (quiet, loud)
    )
    assert exact.local_mean > 0.65
    assert noisy.local_mean < exact.local_mean - 0.02
    assert set(noisy.local_c_index) == set(TRAIN)


def demo_training() -> Training:
    return resolve_training(parse_study(files("deploy").joinpath("actg175.toml").read_text("utf-8"), "demo"))

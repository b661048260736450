"""The product's training against the same rounds written out in floating point, where noise is too small to matter."""

from dataclasses import replace

import numpy as np
import pytest

from hospital_node.cohort import Cohort
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.local_study import LocalStudy
from hospital_node.statistics import sums
from hospital_node.survival.model import build_model
from privacy.guarantees.plan import DpPlan, Release
from privacy.studies.life_table import baseline
from privacy.studies.trained_model import layout_of
from tests.bench.float_reference import federated_average
from tests.bench.folded import Noise, Run, float_reference, independent, integer_run, replayed
from tests.statistical.test_intervals import HOSPITALS, agreement, patients
from tests.unit.deploy.test_baselines import demo, demo_training, widened


def test_integers_follow_the_float_reference() -> None:
    training = demo_training().model_copy(update={"sample_rate": 1.0, "rounds": 3})
    releases = (Release("life_table", "gaussian", 1e-9), Release("train", "gaussian", 1e-9, steps=60))
    agreement = replace(demo("none"), plan=DpPlan(releases, 1e6, 1e-5), training=training)
    cohorts, grid = [widened(seed, 90 + 10 * seed) for seed in range(3)], np.asarray(agreement.times_days)
    n_public = [100, 100, 120]
    studies = [
        LocalStudy(
            build_model(layout_of(agreement)),
            cohort,
            grid,
            training,
            agreement.plan,
            n,
            DiscreteGaussian(),
            OsEntropy(),
        )
        for cohort, n in zip(cohorts, n_public, strict=True)
    ]
    table = sum(study.life_table() for study in studies)
    theta = studies[0].model.layout.start(baseline(table[:10], table[10:]))
    for number in (1, 2, 3):
        theta = np.average([study.train(theta, number) for study in studies], axis=0, weights=n_public)
    expected = federated_average(
        agreement,
        [cohort.x for cohort in cohorts],
        [cohort.exposure(grid) for cohort in cohorts],
        [cohort.events(grid) for cohort in cohorts],
        n_public,
        np.random.default_rng(),
    )
    # Columns that are 0 for everybody have gradients of noise alone, which Adam blows up to whole steps.
    np.testing.assert_allclose(studies[0].model.layout.beta(theta)[:3], expected[:3], atol=1e-4)


def parts() -> dict[str, Cohort]:
    rng = np.random.default_rng(5)
    cohort = patients(rng, 0.35 * rng.normal(size=8))
    return {h: cohort.select(np.arange(600) * 5 + i) for i, h in enumerate(HOSPITALS)}


def apart(run: Run, train: dict[str, Cohort], noise: Noise) -> float:
    """How far the coefficients of the integers and of the floats are apart at epsilon 1."""
    return float(np.abs(run.fit.result - float_reference(agreement(), train, noise).result).max())


def test_under_the_same_noise_integers_and_floats_end_in_the_same_place() -> None:
    train = parts()
    run = integer_run(agreement(), train)
    assert len(run.noise) > 10
    assert all(np.abs(noise).max() > 0 for noise in run.noise)
    assert apart(run, train, replayed(run)) < 1e-7
    # Under another noise nobody could tell a thousandth.
    assert apart(run, train, independent(np.random.default_rng())) > 1e-2


def test_integers_that_are_too_coarse_are_told_by_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    fine, train = sums.quantize, parts()
    # Eight bits a clip in place of forty, in the same units: half a percent of each patient's row.
    monkeypatch.setattr(sums, "quantize", lambda rows, clip, bits: fine(rows, clip, 8) << (bits - 8))
    run = integer_run(agreement(), train)
    assert apart(run, train, replayed(run)) > 1e-4

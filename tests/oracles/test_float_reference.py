"""The product's training against the same rounds written out in floating point, where noise is too small to matter."""

from dataclasses import replace

import numpy as np

from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.local_study import LocalStudy
from hospital_node.survival.model import build_model
from privacy.life_table import baseline
from privacy.plan import DpPlan, Release
from privacy.trained_model import layout_of
from tests.bench.float_reference import federated_average
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

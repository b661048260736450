"""A true null is rejected as often as the level says, whatever the noise; the ordinary table rejects it all the time."""

from dataclasses import replace

import numpy as np
import pytest

from privacy.analytics.log_rank import log_rank
from privacy.analytics.survival import Cells, curve
from privacy.studies.agreement import build
from privacy.studies.grid import time_grid
from tests.unit.privacy.analytics.test_asks import DISTRIBUTED, asking

K, TAU = 10, 1000.0
RUNS, LEVEL = 1000, 0.05


def noise_sd() -> float:
    """Of each cell at epsilon 1, distributed over three hospitals, beside three other questions."""
    other = '[[analysis.query]]\nkind = "count"\n'
    others = "".join(f'{other}name = "other-{number}"\n' for number in range(3))
    analysis = f'kaplan_meier_by = ["arm"]\nlog_rank = true\n{others}'
    asked = asking(analysis, DISTRIBUTED, ("epsilon = 3", "epsilon = 1"))
    plan = build(asked).plan
    assert plan is not None
    return plan.release("survival-1").noise_sd(3)


def histogram(rng: np.random.Generator, n: int, scale: np.ndarray | float = 1500.0) -> tuple[np.ndarray, int]:
    died, left = rng.exponential(scale, n), rng.uniform(200, 1400, n)
    time = np.minimum(np.minimum(died, left), TAU)
    event = (died <= left) & (died <= TAU)
    interval = np.clip(np.searchsorted(time_grid(TAU, K), time, side="left") - 1, 0, K - 1)
    return np.where(event, 0, K) + interval, n


def rejections(groups: int, n: int, sd: float, *, counted: bool, seed: int, runs: int = RUNS) -> float:
    """Share of permutations of one cohort that the test rejects, with noise drawn anew for each."""
    rng = np.random.default_rng(seed)
    code, _ = histogram(rng, n)
    rejected = 0
    for _ in range(runs):
        values = np.zeros((groups, 2 * K))
        np.add.at(values, (rng.permutation(n) % groups, code), 1)
        noised = Cells(np.rint(values + sd * rng.standard_normal(values.shape)), sd, K)
        test = log_rank(noised if counted else replace(noised, noise_sd=0.0))
        assert test is not None
        rejected += test.p_value < LEVEL
    return rejected / runs


def test_the_noise_aware_test_keeps_its_level_and_the_ordinary_one_does_not() -> None:
    sd = noise_sd()
    assert sd > 6
    assert 0.03 <= rejections(2, 2000, sd, counted=True, seed=1) <= 0.07
    # The control switched off: the very same sums, read with the ordinary covariance.
    assert rejections(2, 2000, sd, counted=False, seed=1, runs=300) >= 0.15


@pytest.mark.slow
@pytest.mark.parametrize(("groups", "n"), [(3, 2000), (4, 3000), (2, 600)])
def test_more_groups_and_fewer_patients_keep_the_level(groups: int, n: int) -> None:
    assert 0.02 <= rejections(groups, n, noise_sd(), counted=True, seed=groups) <= 0.07


def test_without_noise_too_and_a_real_difference_is_found() -> None:
    assert 0.03 <= rejections(2, 1000, 0.0, counted=True, seed=3, runs=500) <= 0.07
    rng, sd, n = np.random.default_rng(4), noise_sd(), 1000
    found = 0
    for _ in range(100):
        values = np.zeros((2, 2 * K))
        for group, scale in enumerate((1500.0, 900.0)):
            np.add.at(values[group], histogram(rng, n, scale)[0], 1)
        test = log_rank(Cells(values + sd * rng.standard_normal(values.shape), sd, K))
        assert test is not None
        found += test.p_value < LEVEL
    assert found >= 90


def test_bands_cover_with_the_noise_and_not_without() -> None:
    rng, sd, n = np.random.default_rng(5), 15.0, 500
    grid = time_grid(TAU, K)
    code, _ = histogram(rng, 400_000)
    true = np.bincount(code, minlength=2 * K).astype(float)
    exact = curve(true, Cells(true[None], 0.0, K), grid)
    runs = 300
    covered = {True: np.zeros(K), False: np.zeros(K)}
    hazard, areas = 0, 0
    for _ in range(runs):
        counts = rng.multinomial(n, true / true.sum()) + sd * rng.standard_normal(2 * K)
        for counted in (True, False):
            seen = curve(counts, Cells(counts[None], sd if counted else 0.0, K), grid)
            shown = len(seen.survival)
            low, high = seen.interval.T
            covered[counted][:shown] += (low <= exact.survival[:shown]) & (exact.survival[:shown] <= high)
            if counted and shown == K:
                hazard += abs(seen.hazard[-1] - exact.hazard[-1]) < 1.96 * seen.hazard_se[-1]
                areas += abs(seen.restricted_mean - exact.restricted_mean) < 1.96 * seen.restricted_mean_se
    assert (covered[True] / runs > 0.92).all()
    assert 0.92 < hazard / runs <= 0.99
    assert 0.92 < areas / runs <= 0.99
    assert (covered[False] / runs).mean() < 0.8

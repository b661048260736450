"""The coordinator's side of the Newton recipe: post-processing of released sums."""

from dataclasses import replace

import numpy as np
import pytest

from privacy.recipes import newton
from privacy.recipes.intervals import ON_THE_FLOOR, estimate, noise_variance
from privacy.recipes.newton import Curvature, Newton, conditional_baseline, triangle_weights, unpack

MARGINAL = np.log(np.full(10, 0.08))
MATRIX = np.array([[400.0, 30.0, -20.0], [30.0, 90.0, 10.0], [-20.0, 10.0, 60.0]])


def fit(**changes: object) -> Newton:
    start = Newton(MARGINAL, 2, rate=0.3, average_last=5, scale=1.5)
    triangle = MATRIX[np.triu_indices(3)] * triangle_weights(3)
    return replace(start.after_hessian(triangle, 0.0), **changes)


def test_a_triangle_has_the_norm_of_its_matrix_and_unpacks() -> None:
    triangle = MATRIX[np.triu_indices(3)] * triangle_weights(3)
    np.testing.assert_allclose(unpack(triangle), MATRIX)
    assert np.isclose(np.linalg.norm(triangle), np.linalg.norm(MATRIX))


def test_the_conditional_baseline_mixes_to_the_marginal_table() -> None:
    variance = 1.3
    baseline = conditional_baseline(MARGINAL, variance)
    rng = np.random.default_rng(1)
    risk = np.exp(np.sqrt(variance) * rng.normal(size=400_000))
    survival = np.exp(-np.outer(risk, np.cumsum(np.exp(baseline)))).mean(axis=0)
    hazard = np.exp(baseline) * (
        np.array(
            [
                (risk * np.exp(-risk * spent)).mean()
                for spent in np.cumsum(np.exp(baseline)) - np.exp(baseline)
            ]
        )
        / np.concatenate([[1.0], survival[:-1]])
    )
    np.testing.assert_allclose(hazard, np.exp(MARGINAL), rtol=0.02)
    np.testing.assert_array_equal(conditional_baseline(MARGINAL, 0.0), MARGINAL)


def test_steps_lead_to_the_solution_of_a_quadratic() -> None:
    target, current = np.array([0.1, -0.5, 0.7]), fit()
    for _ in range(40):
        assert current.b is not None
        current = current.after_score(np.append(MATRIX @ (target - current.b), 0.0), 0.0)
    np.testing.assert_allclose(current.averaged[:3], target, atol=1e-4)
    np.testing.assert_allclose(current.model(current.averaged)[-2:], 1.5 * target[1:], atol=2e-4)


def test_no_direction_is_better_known_than_the_noise_allows() -> None:
    noisy = Curvature(np.diag([400.0, -5.0, 0.1]), noise_sd=10.0)
    assert noisy.floor == 10.0 * np.sqrt(3) + 1
    np.testing.assert_allclose(noisy.step(np.ones(3)), np.array([1 / 400, 1 / noisy.floor, 1 / noisy.floor]))


def test_the_predictor_s_variance_stays_within_its_range() -> None:
    assert Curvature(np.diag([10.0, -50.0]), 1.0).variance(np.array([0.0, 3.0])) == 0.0
    assert Curvature(np.diag([10.0, 50.0]), 1.0).variance(np.array([0.0, 9.0])) == newton.LARGEST_VARIANCE


def test_a_score_before_the_hessian_is_refused() -> None:
    with pytest.raises(ValueError, match="before the Hessian"):
        Newton(MARGINAL, 2, 0.3, 5, 1.0).after_score(np.zeros(4), 0.0)


def test_the_tilt_is_held() -> None:
    pushed = fit().after_score(np.array([0.0, 0.0, 0.0, 1e9]), 0.0)
    assert pushed.tilt == newton.LARGEST_TILT


def test_noise_in_the_average_is_what_simulation_gives() -> None:
    rng, kappa, last = np.random.default_rng(2), 0.3, 10
    noise = rng.normal(size=(20_000, 20))
    error, kept = np.zeros(20_000), []
    for j in range(20):
        error = (1 - kappa) * error + kappa * noise[:, j]
        kept.append(error)
    measured = np.mean(kept[-last:], axis=0).var()
    assert np.isclose(noise_variance(kappa, np.ones(20), last), measured, rtol=0.05)


def test_intervals_know_of_the_noise_and_of_unfinished_convergence() -> None:
    target, current = np.array([0.1, -0.5, 0.7]), fit()
    for _ in range(6):
        assert current.b is not None
        current = current.after_score(np.append(MATRIX @ (target - current.b), 0.0), 2.0)
    known, quiet = estimate(current), estimate(replace(current, noise_sd=(0.0,) * 6))
    np.testing.assert_allclose(known.log_hr, 1.5 * target[1:], rtol=0.02)
    assert known.standard_error is not None
    assert quiet.standard_error is not None
    np.testing.assert_allclose(quiet.standard_error, 1.5 * np.sqrt(np.diag(np.linalg.inv(MATRIX)))[1:])
    assert (known.standard_error > quiet.standard_error).all()
    assert known.interval is not None
    np.testing.assert_allclose(known.interval.mean(axis=1), known.log_hr)


def test_no_interval_where_an_eigenvalue_sits_on_the_floor() -> None:
    floored = fit(curvature=Curvature(MATRIX, 40.0)).after_score(np.zeros(4), 1.0)
    assert estimate(floored).standard_error is None
    assert estimate(floored).reason == ON_THE_FLOOR

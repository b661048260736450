"""The Newton recipe without a released Hessian: a public curvature, a ridge against the noise, an honest size of the effects."""

from dataclasses import replace

import numpy as np
import pytest

from privacy.recipes.few_events import RIDGE, SMALLEST_SHARE, FewEvents

MARGINAL = np.log(np.full(10, 0.08))
SPREAD = np.array([0.5, 0.25])
ROUNDS = 20


def fit(**changes: object) -> FewEvents:
    start = FewEvents(MARGINAL, 400.0, SPREAD, 0.3, ROUNDS, 10, 1.5, np.zeros(3), np.zeros(2))
    return replace(start, **changes)


def test_steps_lead_to_the_solution_although_the_public_curvature_is_wrong() -> None:
    """Without noise it is only how fast, not where to."""
    truth, curvature = np.array([0.1, -0.5, 0.7]), np.array([[400, 30, -20], [30, 300, 20], [-20, 20, 60.0]])
    current = fit()
    for _ in range(200):
        current = current.after_score(curvature @ (truth - current.b), 0.0)
    np.testing.assert_allclose(current.averaged, truth, atol=1e-4)
    np.testing.assert_allclose(current.model(current.averaged)[-2:], 1.5 * truth[1:], atol=2e-4)
    np.testing.assert_allclose(current.estimate.log_hr, 1.5 * truth[1:], atol=2e-4)


def test_the_ridge_is_three_times_the_noise_of_the_whole_score_and_of_all_columns() -> None:
    sd = 30.0
    ridge = RIDGE * sd / np.sqrt(ROUNDS) * np.sqrt(3)
    np.testing.assert_allclose(fit().stiffness(sd), [400.0, 200 + ridge, 100 + ridge])
    np.testing.assert_allclose(fit(events=1.0).stiffness(sd)[0], ridge)
    np.testing.assert_array_equal(fit().stiffness(0.0), [400.0, 200.0, 100.0])


def test_effects_that_are_noise_shrink_and_their_order_stays() -> None:
    rng, sd = np.random.default_rng(3), 40.0
    noise, signal = fit(), fit()
    for _ in range(ROUNDS):
        draw = rng.normal(0, sd, 3)
        noise = noise.after_score(draw, sd)
        signal = signal.after_score(draw + np.array([0.0, 4000.0, -2000.0]) / ROUNDS, sd)
    for current, most in ((noise, 0.6), (signal, 1.0)):
        shrunk, plain = current.shrunk, current.averaged
        ratio = shrunk[1:] / plain[1:]
        assert ratio[0] == pytest.approx(ratio[1])
        assert SMALLEST_SHARE <= ratio[0] <= most
        assert shrunk[0] == plain[0]
    assert (signal.shrunk / signal.averaged)[1] > (noise.shrunk / noise.averaged)[1]


def test_no_standard_error_without_a_measured_curvature() -> None:
    known = fit().after_score(np.ones(3), 1.0).estimate
    assert known.standard_error is None
    assert "curvature" in known.reason


def test_a_center_is_the_released_mean_as_far_as_its_noise_lets_it_be() -> None:
    exact = fit().after_means(np.array([200.0, 150.0, -60.0]), 0.0)
    np.testing.assert_allclose(exact.center, np.array([0.5, -0.2]))
    noisy = fit().after_means(np.array([200.0, 150.0, -6.0]), 20.0)
    assert 0.4 < noisy.center[0] < 0.5
    assert noisy.center[1] == 0.0
    # A sum that is all noise centers nothing far away.
    assert np.abs(fit().after_means(np.array([-30.0, 25.0, 18.0]), 30.0).center).max() < 0.3


def test_the_model_speaks_of_columns_as_they_are() -> None:
    """Whoever sits at the center has the baseline; the level at columns 0 moves with it."""
    b = np.array([0.2, -0.6, 0.4])
    plain, moved = fit().model(b), fit(center=np.array([0.3, -0.1])).model(b)
    np.testing.assert_allclose(moved[-2:], plain[-2:])
    at_center = moved[:10] + moved[-2:] @ np.array([0.3, -0.1])
    np.testing.assert_allclose(at_center, plain[:10])

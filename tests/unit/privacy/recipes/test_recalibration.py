"""Level and slope from one table."""

import numpy as np

from privacy.recipes import recalibration
from privacy.recipes.tasks import RISK_BINS

K = 4


def table(
    rng: np.random.Generator, theta: np.ndarray, slope: float, level: float
) -> tuple[np.ndarray, float, float]:
    """Patients whose hazard has another slope and level than the model says, in the bins that the model asks for."""
    n, sd = 60_000, 0.8
    risk = rng.normal(0.2, sd, n)
    hazard = np.exp(theta[:K] + level)[None, :] * np.exp(slope * risk)[:, None]
    spent, exit_at, event = rng.exponential(size=n), np.full(n, K - 1), np.zeros(n, dtype=int)
    reached = np.cumsum(hazard, axis=1) >= spent[:, None]
    event[reached.any(axis=1)] = 1
    exit_at[event == 1] = reached.argmax(axis=1)[event == 1]
    released = np.array([n, risk.sum() / 6, (risk**2).sum() / 36])
    mean, spread = recalibration.predictor_moments(released)
    asked = recalibration.ask_bins(theta, K, mean, spread)
    cell = np.searchsorted(recalibration.bins_asked(asked), risk) * K + exit_at
    cells = np.bincount(np.where(event == 1, 0, RISK_BINS * K) + cell, minlength=2 * RISK_BINS * K)
    return cells.astype(float), mean, spread


def test_a_wrong_slope_and_level_are_found() -> None:
    theta = np.concatenate([np.log(np.full(K, 0.02)), [0.5]])
    cells, mean, spread = table(np.random.default_rng(3), theta, slope=1.6, level=0.4)
    assert abs(mean - 0.2) < 0.02
    fitted = recalibration.recalibrated(theta, K, cells, mean, spread, None)
    assert abs(fitted[-1] / theta[-1] - 1.6) < 0.1
    assert np.allclose(fitted[:K] - theta[:K], 0.4, atol=0.15)


def test_below_the_level_of_a_slope_it_is_a_constant() -> None:
    theta = np.concatenate([np.log(np.full(K, 0.02)), [0.5]])
    cells, mean, spread = table(np.random.default_rng(4), theta, slope=1.0, level=0.0)
    fitted = recalibration.recalibrated(theta, K, cells, mean, spread, recalibration.LEVEL_ONLY_SLOPE)
    assert fitted[-1] == 0.5 * recalibration.LEVEL_ONLY_SLOPE


def test_noise_alone_gives_finite_parameters_within_reach() -> None:
    rng, theta = np.random.default_rng(5), np.concatenate([np.log(np.full(K, 0.1)), [0.5]])
    for _ in range(50):
        mean, spread = recalibration.predictor_moments(rng.normal(0, 50, 3))
        fitted = recalibration.recalibrated(
            theta, K, rng.normal(0, 50, 2 * RISK_BINS * K), mean, spread, None
        )
        assert np.isfinite(fitted).all()
        assert 0.2 <= fitted[-1] / theta[-1] <= 3.0
        assert np.abs(fitted[:K] - theta[:K]).max() <= recalibration.LARGEST_SHIFT

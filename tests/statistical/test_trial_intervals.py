"""Intervals of the arms-only trial mode against simulated trials with known effects, through the hospitals' own integers."""

from dataclasses import replace

import numpy as np
import pytest

from privacy.recipes.trial import Trial, trial_estimate
from tests.bench.folded import integer_path
from tests.bench.trial import LOG_HR, agreement_of, simulated_patients

EQUAL = {"0": 1.0, "1": 1.0, "2": 1.0, "3": 1.0}


def errors(
    epsilon: float, studies: int, patients: int, seed: int, allocation: dict[str, float], hazard: float = 0.45
) -> tuple[np.ndarray, np.ndarray]:
    """Errors in units of the claimed standard error, and of one that forgets the noise; (studies x effects,) each."""
    agreement, rng = (
        agreement_of("distributed", epsilon, allocation, patients // 5),
        np.random.default_rng(seed),
    )
    aware, naive = [], []
    for _ in range(studies):
        truth = np.asarray(LOG_HR[: len(allocation) - 1])
        shares = agreement.training.allocation
        fit = integer_path(agreement, simulated_patients(rng, shares, truth.tolist(), patients, hazard)).state
        assert isinstance(fit, Trial)
        known, blind = trial_estimate(fit), trial_estimate(replace(fit, noise_sd=(0.0,) * 5))
        assert known.standard_error is not None
        assert blind.standard_error is not None
        aware.extend((known.log_hr - truth) / known.standard_error)
        naive.extend((known.log_hr - truth) / blind.standard_error)
    return np.asarray(aware), np.asarray(naive)


def test_errors_are_as_large_as_claimed_and_larger_than_without_the_noise() -> None:
    """Small trials at a small budget, where most of the error is noise."""
    aware, naive = errors(0.7, 12, 2139, 3, EQUAL)
    assert 0.75 < np.sqrt(np.mean(aware**2)) < 1.3
    assert np.sqrt(np.mean(naive**2)) > 1.15 * np.sqrt(np.mean(aware**2))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epsilon", "patients", "allocation", "hazard"),
    [
        (1.0, 2139, EQUAL, 0.45),
        (3.0, 2139, EQUAL, 0.45),
        (1.0, 2000, {"0": 1.0, "1": 2.0}, 0.45),
        (1.0, 2000, {"0": 1.0, "1": 1.0}, 2.0),
    ],
)
def test_nineteen_in_twenty_intervals_hold_the_effect(
    epsilon: float, patients: int, allocation: dict[str, float], hazard: float
) -> None:
    aware, _ = errors(epsilon, 150, patients, 11, allocation, hazard)
    # Within a trial the arms share the reference's error: as many independent ones as trials.
    assert abs(np.mean(np.abs(aware) < 1.96) - 0.95) < 3 * np.sqrt(0.95 * 0.05 / 150)

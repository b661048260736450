"""Intervals of the arms-only trial mode against simulated trials with known effects."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from privacy.recipes.trial import Trial
from privacy.recipes.trial_interval import trial_estimate
from tests.bench.folded import float_reference, independent, integer_path
from tests.bench.trial import LOG_HR, agreement_of, simulated_patients

EQUAL = {"0": 1.0, "1": 1.0, "2": 1.0, "3": 1.0}


def errors(
    epsilon: float, studies: int, patients: int, seed: int, allocation: dict[str, float]
) -> tuple[np.ndarray, np.ndarray]:
    """By the hospitals' own integers: errors in units of the claimed standard error, and of one that forgets the noise; (studies x effects,) each."""
    agreement, rng = (
        agreement_of("distributed", epsilon, allocation, patients // 5),
        np.random.default_rng(seed),
    )
    aware, naive = [], []
    for _ in range(studies):
        truth = np.asarray(LOG_HR[: len(allocation) - 1])
        shares = agreement.training.allocation
        fit = integer_path(agreement, simulated_patients(rng, shares, truth.tolist(), patients, 0.45)).state
        assert isinstance(fit, Trial)
        known, blind = trial_estimate(fit), trial_estimate(replace(fit, cell_sd=0.0, noise_sd=(0.0,) * 5))
        assert known.standard_error is not None
        assert blind.standard_error is not None
        aware.extend((known.log_hr - truth) / known.standard_error)
        naive.extend((known.log_hr - truth) / blind.standard_error)
    return np.asarray(aware), np.asarray(naive)


def test_errors_are_as_large_as_claimed_and_larger_than_without_the_noise() -> None:
    """Small trials at a small budget, where most of the error is noise."""
    aware, naive = errors(0.7, 24, 2139, 3, EQUAL)
    assert 0.7 < np.sqrt(np.mean(aware**2)) < 1.35
    # About 1.16: all hospitals answer, so that superfluous noise is out.
    assert np.sqrt(np.mean(naive**2)) > 1.1 * np.sqrt(np.mean(aware**2))


# Exact bounds of 91.6 and 97.9 %: intervals that hold the effect nine times in ten fail here 91 times in 100.
TRIALS, FALSE_ALARM = 700, 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("epsilon", "patients", "allocation", "hazard"),
    [
        (1.0, 2139, EQUAL, 0.45),
        (3.0, 2139, EQUAL, 1.0),
        (1.0, 2000, {"0": 1.0, "1": 2.0}, 0.45),
        (1.0, 2000, {"0": 1.0, "1": 1.0}, 2.0),
        (3.0, 2000, {"0": 1.0, "1": 1.0}, 2.0),
    ],
)
def test_nineteen_in_twenty_intervals_hold_the_effect(
    epsilon: float, patients: int, allocation: dict[str, float], hazard: float
) -> None:
    """The same sums as floats, with noise from a seed."""
    agreement, rng = (
        agreement_of("distributed", epsilon, allocation, patients // 5),
        np.random.default_rng(11),
    )
    truth, held = np.asarray(LOG_HR[: len(allocation) - 1]), 0
    for _ in range(TRIALS):
        arms = simulated_patients(rng, agreement.training.allocation, truth.tolist(), patients, hazard)
        known = float_reference(agreement, arms, independent(rng)).estimate
        assert known is not None
        assert known.interval is not None
        # Within a trial the arms share the reference's error, so the first effect alone is counted.
        low, high = known.interval[0]
        held += int(low <= truth[0] <= high)
    least, most = binom.ppf([FALSE_ALARM / 2, 1 - FALSE_ALARM / 2], TRIALS, 0.95)
    assert least <= held <= most

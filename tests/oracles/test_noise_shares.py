"""privacy/MECHANISMS.md, checked by convolving the shares: exact probabilities against the Gaussian that is accounted."""

from math import exp, pi, sqrt

import numpy as np
import pytest
from scipy.special import log_ndtr, ndtr

from privacy.guarantees.release import Release

UNITS_BITS = 8


def one_share(s: float) -> np.ndarray:
    """Probabilities of N_Z(0, s^2) on -r..r, all that double precision can see."""
    reach = int(14 * s)
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * s * s))
    return weights / weights.sum()


def sum_of(shares: int, s: float) -> np.ndarray:
    """Probabilities of the sum, centered in the array."""
    total = one_share(s)
    for _ in range(shares - 1):
        total = np.convolve(total, one_share(s))
    return total


def delta_exact(probabilities: np.ndarray, shift: int, epsilon: float) -> float:
    """Hockey-stick divergence of the law from itself moved by `shift`."""
    here = np.concatenate([probabilities, np.zeros(shift)])
    there = np.concatenate([np.zeros(shift), probabilities])
    return float(np.maximum(here - exp(epsilon) * there, 0.0).sum())


def delta_gaussian(mu: float, epsilon: float) -> float:
    """Balle & Wang 2018, theorem 8."""
    return float(ndtr(mu / 2 - epsilon / mu) - exp(epsilon + log_ndtr(-mu / 2 - epsilon / mu)))


@pytest.mark.parametrize("shares", [1, 2, 3, 5, 12, 46])
@pytest.mark.parametrize("s", [1.0, 1.5])
def test_a_sum_of_shares_is_one_discrete_gaussian_up_to_the_stated_term(shares: int, s: float) -> None:
    """At s >= 8 the term is below e-270; small scales make it visible, and show that it is not vacuous."""
    convolved = sum_of(shares, s)
    reach = (len(convolved) - 1) // 2
    z = np.arange(-reach, reach + 1)
    weights = np.exp(-(z**2) / (2 * shares * s * s))
    near = np.abs(z) <= 6 * sqrt(shares) * s
    gap = np.abs(np.log(convolved[near] / (weights / weights.sum())[near])).max()
    assert gap <= 5 * (shares - 1) * exp(-(pi**2) * s * s) + 1e-9
    if s == 1.0 and shares == 2:
        assert gap > exp(-(pi**2) * s * s)


@pytest.mark.parametrize("shares", [2, 3, 10, 46])
def test_what_is_accounted_covers_the_exact_law_and_the_plain_idealization_does_not(shares: int) -> None:
    release = Release("newton", "gaussian", 0.05 * sqrt(shares), units_bits=UNITS_BITS, shares=shares)
    s = release.scale_units()
    assert s == 13
    law, exceeded = sum_of(shares, s), 0
    for shift in (release.units, release.units // 3, 1):
        accounted = shift / (release.accounted_multiplier() * release.units)
        plain = shift / (sqrt(shares) * s)
        for epsilon in np.linspace(0.0, accounted**2 / 2 + 5 * accounted, 41):
            exact = delta_exact(law, shift, float(epsilon))
            if exact > 1e-10:
                assert exact <= delta_gaussian(accounted, float(epsilon) + 1e-12) * (1 + 1e-9) + 1e-13
                exceeded += exact > delta_gaussian(plain, float(epsilon)) * (1 + 1e-9) + 1e-13
    assert exceeded > 0

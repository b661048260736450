"""Standard errors of a noisy Newton fit that know of the noise: post-processing of what was released.

In the eigenbasis of the released Hessian the fit is a linear filter: with kappa = eta lambda / max(lambda, floor) a step moves an
error by the factor 1 - kappa and adds kappa / lambda of that round's noise. So the average of the last m of T iterates carries
round j's noise with the weight (1/m) sum_{k >= max(j, k0)} kappa (1 - kappa)^(k - j), and still lacks the share
mean_k (1 - kappa)^(k + 1) of the way.

What noise of the life table does beyond the level and the slope over time, which the fit learns again, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from privacy.recipes.newton import Newton
from privacy.studies.grid import FloatArray

CONFIDENCE = 0.95
SMALLEST_PROGRESS = 0.5
ON_THE_FLOOR = (
    "the noise is as large as what the patients say about some direction of the covariates (an eigenvalue of the released Hessian sits on "
    "its floor), so an interval would be wrong; ask fewer columns, a larger epsilon or more patients"
)


@dataclass(frozen=True, slots=True)
class Estimate:
    """Coefficients of the linear model with what is known of their error.

    Attributes:
        log_hr: (d,) per scaled unit of each column.
        standard_error: (d,) sampling and noise together; None where no honest one exists.
        reason: why there is none, "" otherwise.
        limit: what is known to be wrong with them and is in no interval, "" otherwise; public quantities alone decide.
    """

    log_hr: FloatArray
    standard_error: FloatArray | None
    reason: str = ""
    limit: str = ""

    @property
    def interval(self) -> FloatArray | None:
        """(d, 2) bounds of the 95 % interval."""
        if self.standard_error is None:
            return None
        reach = float(ndtri(0.5 + CONFIDENCE / 2)) * self.standard_error
        return np.stack([self.log_hr - reach, self.log_hr + reach], axis=1)


def estimate(fit: Newton) -> Estimate:
    """Coefficients with unfinished convergence undone, and their standard errors.

    The covariance is U diag(1/lambda) U' for sampling (conservative, because weights are at most 1) plus
    U diag(v / lambda^2) U' for the noise, v the noise variance that the averaging leaves in each direction.
    """
    plain = fit.scale * fit.averaged[1:-1]
    if fit.curvature is None or not fit.iterates:
        return Estimate(plain, None, "no Newton step was finished")
    values, vectors = fit.curvature.eigen
    floor = fit.curvature.floor
    if values[0] <= floor:
        return Estimate(plain, None, ON_THE_FLOOR)
    # Beyond the floor, lambda / max(lambda, floor) is 1.
    kappa = fit.rate
    rounds, last = len(fit.iterates), min(fit.average_last, len(fit.iterates))
    averaged = np.arange(rounds - last, rounds)
    progress = max(1.0 - float(np.mean((1.0 - kappa) ** (averaged + 1))), SMALLEST_PROGRESS)
    left = noise_variance(kappa, np.asarray(fit.noise_sd), last)
    spectrum = 1.0 / values + left / (values**2 * progress**2)
    covariance = (vectors * spectrum) @ vectors.T
    return Estimate(plain / progress, fit.scale * np.sqrt(np.diag(covariance)[1:]))


def noise_variance(kappa: float, noise_sd: FloatArray, last: int, gain: float | None = None) -> float:
    """Variance, times lambda^2, that the rounds' noise leaves in the mean of the last iterates.

    Args:
        kappa: share of the way that one step goes, in (0, 1].
        gain: what a step makes of one unit of noise, times lambda; kappa unless stated.
        noise_sd: (T,) of each round's score.
        last: m, iterates in the mean.
    """
    rounds = len(noise_sd)
    total, gain = 0.0, kappa if gain is None else gain
    for j in range(rounds):
        after = np.arange(max(j, rounds - last), rounds)
        weight = float(np.sum(gain * (1.0 - kappa) ** (after - j))) / last
        total += (float(noise_sd[j]) * weight) ** 2
    return total

"""After the fit: level and slope of the predictor from one noised table, so that probabilities mean what they say.

Two releases. The moments of the predictor (sum of (1, l/6, (l/6)^2), l clipped to +-6: sensitivity sqrt 3) give bin edges at the
quantiles of a normal distribution; quantiles of the patients would be another release. The table counts patients by risk bin, exit
interval and event: one cell a patient, sensitivity 1.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from privacy.recipes.tasks import RISK_BINS
from privacy.studies.grid import FloatArray

LARGEST_PREDICTOR = 6.0
SMALLEST_SD = 0.05
SLOPES = np.round(np.exp(np.linspace(np.log(0.2), np.log(3.0), 109)), 6)
# Points that stand for the patients of a bin.
_PARTS = 12
LEVEL_ONLY_SLOPE = 0.7
LARGEST_SHIFT = 3.0


def standard_edges() -> FloatArray:
    """Inner edges of the risk bins in standard units, shape (RISK_BINS - 1,)."""
    return np.asarray(ndtri(np.arange(1, RISK_BINS) / RISK_BINS))


def predictor_moments(released: FloatArray) -> tuple[float, float]:
    """Mean and standard deviation of the predictor from the noised sums (3,); both within the clip."""
    patients = max(float(released[0]), 1.0)
    mean = float(np.clip(LARGEST_PREDICTOR * released[1] / patients, -LARGEST_PREDICTOR, LARGEST_PREDICTOR))
    second = LARGEST_PREDICTOR**2 * released[2] / patients
    variance = float(np.clip(second - mean**2, SMALLEST_SD**2, LARGEST_PREDICTOR**2))
    return mean, float(np.sqrt(variance))


def ask_bins(theta: FloatArray, intervals: int, mean: float, sd: float) -> FloatArray:
    """The model of the round that asks for the table: no log hazards are needed there, so the first two say where the bins lie."""
    asked = theta.copy()
    asked[:intervals] = 0.0
    asked[0], asked[1] = mean, sd
    return asked


def bins_asked(theta: FloatArray) -> FloatArray:
    """Inner edges of the bins that `ask_bins` asked for, (RISK_BINS - 1,)."""
    return np.asarray(theta[0] + max(float(theta[1]), SMALLEST_SD) * standard_edges())


def recalibrated(
    theta: FloatArray, intervals: int, table: FloatArray, mean: float, sd: float, slope: float | None
) -> FloatArray:
    """The model with its level shifted and its predictor multiplied by one slope.

    Args:
        theta: (K + d,) the averaged fit.
        intervals: K.
        table: (2 * RISK_BINS * K,): events, then censorings, each bin by bin.
        mean, sd: of the predictor, as asked for.
        slope: fixed; None fits it within [.2, 3].
    """
    counts = table.reshape(2, RISK_BINS, intervals)
    # Noise is unbiased: summed cells are better than cells floored one by one.
    events, leaving = counts[0], counts.sum(axis=0)
    at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1]
    exposure = np.maximum(at_risk - 0.5 * leaving, 0.0)
    log_hazards = np.minimum(theta[:intervals], LARGEST_PREDICTOR)
    fits = [
        (_fit_level(float(s), log_hazards, exposure, events, mean, sd), float(s))
        for s in (SLOPES if slope is None else [slope])
    ]
    (_, shift), best = max(fits)
    fitted = theta.copy()
    fitted[:intervals] += shift
    fitted[intervals:] *= best
    return fitted


def _fit_level(
    slope: float, log_hazards: FloatArray, exposure: FloatArray, events: FloatArray, mean: float, sd: float
) -> tuple[float, float]:
    """Poisson log-likelihood of the bins' events at the best level for this slope, and that level's shift.

    Two passes: who is left in a bin late depends on the level.
    """
    total, shift = max(float(events.sum()), 1.0), 0.0
    for _ in range(2):
        rates = np.exp(log_hazards) * _bin_risk(slope, log_hazards + shift, mean, sd)
        expected = np.maximum((exposure * rates).sum(axis=1), 1e-9)
        shift = float(np.clip(np.log(total / expected.sum()), -LARGEST_SHIFT, LARGEST_SHIFT))
    likelihood = float(events.sum(axis=1) @ np.log(expected) - total * np.log(expected.sum()))
    return likelihood, shift


def _bin_risk(slope: float, log_hazards: FloatArray, mean: float, sd: float) -> FloatArray:
    """Mean of exp(slope l) among those of each bin who are still there, l ~ N(mean, sd^2) at the start, (RISK_BINS, K).

    The bins at the ends are wide, and in them those with the highest predictor leave first.
    """
    parts = (np.arange(RISK_BINS * _PARTS) + 0.5) / (RISK_BINS * _PARTS)
    risk = np.exp(slope * (mean + sd * ndtri(parts))).reshape(RISK_BINS, _PARTS)
    alive = np.ones_like(risk)
    means = np.empty((RISK_BINS, len(log_hazards)))
    for k, hazard in enumerate(np.exp(log_hazards)):
        means[:, k] = (alive * risk).sum(axis=1) / np.maximum(alive.sum(axis=1), 1e-300)
        alive = alive * np.exp(-hazard * risk)
    return means

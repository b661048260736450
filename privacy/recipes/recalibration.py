"""After the fit: level and slope of the predictor from one noised table, so that probabilities mean what they say.

Two releases. The moments of the predictor (sum of (1, l/6, (l/6)^2), l clipped to +-6: sensitivity sqrt 3) give bin edges at the
quantiles of a normal distribution; quantiles of the patients would be another release. The table counts patients by risk bin, exit
interval and event: one cell a patient, sensitivity 1.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from privacy.grid import FloatArray
from privacy.recipes.tasks import RISK_BINS

LARGEST_PREDICTOR = 6.0
SMALLEST_SD = 0.05
SLOPES = np.round(np.exp(np.linspace(np.log(0.2), np.log(3.0), 109)), 6)
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

    Expected events in a bin use the mean of exp(slope l) over the bin's part of the normal distribution, not the value at its center.

    Args:
        theta: (K + d,) the averaged fit.
        intervals: K.
        table: (2 * RISK_BINS * K,): events, then censorings, each bin by bin.
        mean, sd: of the predictor, as asked for.
        slope: fixed; None fits it within [.2, 3].
    """
    counts = table.reshape(2, RISK_BINS, intervals)
    # Noise is unbiased: summed cells are better than cells floored one by one.
    events, censored = counts[0], counts[1]
    leaving = events + censored
    at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1]
    exposure = np.maximum(at_risk - 0.5 * leaving, 0.0)
    hazard = exposure @ np.exp(np.minimum(theta[:intervals], LARGEST_PREDICTOR))
    best = max(
        SLOPES if slope is None else [slope],
        key=lambda s: _profile(float(s), hazard, events.sum(axis=1), mean, sd),
    )
    expected = float(hazard @ _bin_risk(float(best), mean, sd))
    shift = float(np.log(max(float(events.sum()), 1.0) / max(expected, 1e-9)))
    fitted = theta.copy()
    fitted[:intervals] += np.clip(shift, -LARGEST_SHIFT, LARGEST_SHIFT)
    fitted[intervals:] *= best
    return fitted


def _profile(slope: float, hazard: FloatArray, events: FloatArray, mean: float, sd: float) -> float:
    """Poisson log-likelihood of the bins' events with the best level for this slope."""
    risk = _bin_risk(slope, mean, sd)
    total = max(float(hazard @ risk), 1e-9)
    return float(events @ np.log(risk) - max(float(events.sum()), 1.0) * np.log(total))


def _bin_risk(slope: float, mean: float, sd: float) -> FloatArray:
    """Mean of exp(slope l) within each bin for l ~ N(mean, sd^2), (RISK_BINS,)."""
    edges = np.concatenate([[-np.inf], standard_edges(), [np.inf]])
    shifted = ndtr(edges - slope * sd)
    share = np.maximum(np.diff(shifted), 1e-12) * RISK_BINS
    return np.asarray(np.exp(slope * mean + 0.5 * (slope * sd) ** 2) * share)

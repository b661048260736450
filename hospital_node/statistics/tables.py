"""Tables in which a patient is one cell, and the moments of the predictor."""

import numpy as np

from privacy.recipes.recalibration import LARGEST_PREDICTOR, bins_asked
from privacy.recipes.tasks import RISK_BINS
from privacy.studies.grid import FloatArray, IntArray


def exit_cells(exit_interval: IntArray, event: IntArray, intervals: int) -> FloatArray:
    """Life table: one-hot rows (n, 2K), events first."""
    return _one_hot(np.where(event == 1, 0, intervals) + exit_interval, 2 * intervals)


def risk_cells(
    theta: FloatArray, risk: FloatArray, exit_interval: IntArray, event: IntArray, intervals: int
) -> FloatArray:
    """Risk bin x interval, events first: one-hot rows (n, 2 RISK_BINS K).

    Args:
        theta: the round's model, which says where the bins lie.
        risk: (n,) linear predictors.
    """
    held = np.clip(risk, -LARGEST_PREDICTOR, LARGEST_PREDICTOR)
    cell = np.searchsorted(bins_asked(theta), held) * intervals + exit_interval
    half = RISK_BINS * intervals
    return _one_hot(np.where(event == 1, 0, half) + cell, 2 * half)


def moment_rows(risk: FloatArray) -> FloatArray:
    """(1, l/6, (l/6)^2) with l held to +-6, shape (n, 3)."""
    held = np.clip(risk, -LARGEST_PREDICTOR, LARGEST_PREDICTOR) / LARGEST_PREDICTOR
    return np.stack([np.ones_like(held), held, held**2], axis=1)


def _one_hot(cell: IntArray, cells: int) -> FloatArray:
    rows = np.zeros((len(cell), cells))
    rows[np.arange(len(cell)), cell] = 1.0
    return rows

"""The public time grid of a study and where a patient's follow-up lies on it.

Interval k, counted from 0, is (t_k, t_{k+1}]: a patient who leaves exactly at a boundary leaves in the interval that
ends there. The grid comes from the study protocol, never from observed times: quantiles of the data would be a release.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class GridError(ValueError):
    """A grid or a follow-up that cannot be placed on it; the sentence names the rule, never a value."""


def time_grid(horizon_days: float, intervals: int) -> FloatArray:
    """Boundaries t_k = horizon (k/K)^2, shape (intervals + 1,), in days; intervals are short where risk is early.

    Raises:
        GridError: the horizon is not finite and positive, or there are no intervals.
    """
    if not (np.isfinite(horizon_days) and horizon_days > 0):
        raise GridError("horizon_days must be a finite number above 0; set it in [study]")
    if intervals < 1:
        raise GridError("intervals must be at least 1; set it in [study]")
    return np.asarray(horizon_days * (np.arange(intervals + 1) / intervals) ** 2, dtype=np.float64)


def administrative_censoring(
    times_days: FloatArray, event: IntArray, horizon_days: float
) -> tuple[FloatArray, IntArray]:
    """Follow-up stopped at the horizon: later times become the horizon, later events become censorings.

    An event exactly at the horizon counts.
    """
    beyond = times_days > horizon_days
    return np.where(beyond, horizon_days, times_days), np.where(beyond, 0, event).astype(np.int64)


def exit_interval(times_days: FloatArray, grid_days: FloatArray) -> IntArray:
    """Index in [0, K) of the interval in which each patient leaves, shape (n,); later than the grid counts as last."""
    last = len(grid_days) - 2
    return np.clip(np.searchsorted(grid_days, times_days, side="left") - 1, 0, last).astype(np.int64)


def exposure(
    times_days: FloatArray, grid_days: FloatArray, entry_days: FloatArray | None = None
) -> FloatArray:
    """Share in [0, 1] of each interval during which each patient was at risk, shape (n, K), exact.

    Args:
        times_days: (n,) exit times.
        grid_days: (K + 1,) boundaries.
        entry_days: (n,) start of observation (left truncation); 0 for everybody when left out.
    """
    widths = np.diff(grid_days)
    until_exit = np.clip((times_days[:, None] - grid_days[:-1]) / widths, 0.0, 1.0)
    if entry_days is None:
        return until_exit
    before_entry = np.clip((entry_days[:, None] - grid_days[:-1]) / widths, 0.0, 1.0)
    return np.maximum(until_exit - before_entry, 0.0)


def event_matrix(times_days: FloatArray, event: IntArray, grid_days: FloatArray) -> FloatArray:
    """1 where the patient had the event in that interval, 0 elsewhere, shape (n, K); at most one 1 in a row."""
    happened = np.zeros((len(times_days), len(grid_days) - 1))
    happened[np.arange(len(times_days)), exit_interval(times_days, grid_days)] = event == 1
    return happened

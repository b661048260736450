"""The public time grid of a study."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class GridError(ValueError):
    """A grid that cannot be made; the sentence names the key of the study file."""


def time_grid(horizon_days: float, intervals: int) -> FloatArray:
    """Boundaries t_k = horizon (k/K)^2, shape (intervals + 1,), in days; intervals are short where risk is early.

    Interval k, counted from 0, is (t_k, t_{k+1}]. The grid comes from the study protocol, never from observed times:
    quantiles of the data would be a release.

    Raises:
        GridError: the horizon is not finite and positive, or there are no intervals.
    """
    if not (np.isfinite(horizon_days) and horizon_days > 0):
        raise GridError("horizon_days must be a finite number above 0; set it in [study]")
    if intervals < 1:
        raise GridError("intervals must be at least 1; set it in [study]")
    return np.asarray(horizon_days * (np.arange(intervals + 1) / intervals) ** 2, dtype=np.float64)

"""One clip per patient: over all coordinates together, and nothing from a patient whose gradient is not finite."""

import numpy as np

from privacy.studies.grid import FloatArray


def clip_factors(norms: FloatArray, clip_l2: float) -> FloatArray:
    """What each patient's gradient is multiplied with, in [0, 1], shape (n,).

    min(1, clip_l2 / norm); 0 where the norm is NaN or infinite, so that such a patient counts as nothing.
    """
    factors = np.minimum(1.0, clip_l2 / np.maximum(norms, np.finfo(np.float64).tiny))
    return np.where(np.isfinite(norms), factors, 0.0)


def clip_rows(rows: FloatArray, clip_l2: float) -> FloatArray:
    """Rows (n, dim) held to L2 norm clip_l2; rows with a number that is not finite become zero."""
    with np.errstate(over="ignore", invalid="ignore"):
        factors = clip_factors(np.sqrt((rows**2).sum(axis=1)), clip_l2)
        return np.where(factors[:, None] > 0, rows * factors[:, None], 0.0)

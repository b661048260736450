"""The one way in which a sum over patients becomes integers that may leave."""

from collections.abc import Callable

import numpy as np

from privacy.grid import FloatArray, IntArray
from privacy.mechanisms import Sampler, noisy_sum, quantize
from privacy.plan import Release

# Rows of some patients, one each, (patients, length).
Rows = Callable[[slice], FloatArray]

# A Hessian of 50 columns has 1,326 coordinates a patient; so many rows at a time are 11 MB.
_PATIENTS_AT_ONCE = 1024


def summed(patients: int, rows: Rows, release: Release, sampler: Sampler | None) -> IntArray:
    """Sum over patients of their rows in the release's units, noised once, (length,) int64.

    Every row is held to the release's clip and truncated toward zero as integers before it is added, whatever `rows` says, so the
    sensitivity does not depend on the formulas behind it.

    Args:
        patients: how many there are, >= 0.
        rows: asked for consecutive slices of them.
        release: clip, units and noise.
        sampler: None in mode none only, where nothing is noised.
    """
    first = rows(slice(0, min(patients, _PATIENTS_AT_ONCE)))
    total = quantize(first, release.clip_l2, release.units_bits).sum(axis=0, dtype=np.int64)
    for start in range(_PATIENTS_AT_ONCE, patients, _PATIENTS_AT_ONCE):
        more = rows(slice(start, start + _PATIENTS_AT_ONCE))
        total = total + quantize(more, release.clip_l2, release.units_bits).sum(axis=0, dtype=np.int64)
    if sampler is None:
        return np.asarray(total, dtype=np.int64)
    return noisy_sum(total[None, :], release.scale_units(), sampler)

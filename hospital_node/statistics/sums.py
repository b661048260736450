"""The one way in which a sum over patients becomes integers that may leave."""

from collections.abc import Callable

import numpy as np

from privacy.guarantees.release import Release
from privacy.noise.mechanisms import Sampler, noisy_sum, noisy_sum_in_layers, quantize
from privacy.studies.grid import FloatArray, IntArray

# Rows of some patients, one each, (patients, length).
Rows = Callable[[slice], FloatArray]

# A Hessian of 50 columns has 1,326 coordinates a patient; so many rows at a time are 11 MB.
_PATIENTS_AT_ONCE = 1024


class SpareNoise:
    """The layers of the noise of the last sum, in memory alone: whoever has them takes noise away that patients rely on.

    They are handed out once. Nothing prints, stores or copies them; a process that ends leaves its noise in the sum.
    """

    __slots__ = ("_layers",)

    def __init__(self) -> None:
        """Nothing is held."""
        self._layers: IntArray | None = None

    def hold(self, layers: IntArray | None) -> None:
        """Keep these, (layers, length), and forget those before."""
        self._layers = layers

    def take(self) -> IntArray | None:
        """What is held, and forget it."""
        held, self._layers = self._layers, None
        return held


def summed(
    patients: int, rows: Rows, release: Release, sampler: Sampler | None, spare: SpareNoise | None = None
) -> IntArray:
    """Sum over patients of their rows in the release's units, noised once, (length,) int64.

    Every row is held to the release's clip and truncated toward zero as integers before it is added, whatever `rows` says, so the
    sensitivity does not depend on the formulas behind it.

    Args:
        patients: how many there are, >= 0.
        rows: asked for consecutive slices of them.
        release: clip, units and noise.
        sampler: None in mode none only, where nothing is noised.
        spare: where the layers of the noise go, if some may be taken out later; without it all of them stay.
    """
    if spare is not None:
        spare.hold(None)
    first = rows(slice(0, min(patients, _PATIENTS_AT_ONCE)))
    total = quantize(first, release.clip_l2, release.units_bits).sum(axis=0, dtype=np.int64)
    for start in range(_PATIENTS_AT_ONCE, patients, _PATIENTS_AT_ONCE):
        more = rows(slice(start, start + _PATIENTS_AT_ONCE))
        total = total + quantize(more, release.clip_l2, release.units_bits).sum(axis=0, dtype=np.int64)
    if sampler is None:
        return np.asarray(total, dtype=np.int64)
    if release.spare == 0:
        return noisy_sum(total[None, :], release.scale_units(), sampler)
    noisy, layers = noisy_sum_in_layers(total[None, :], release.layers(), sampler)
    if spare is not None:
        spare.hold(layers)
    return noisy

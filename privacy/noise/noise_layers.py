"""A hospital's share of the noise in layers, so that what a larger sum does not need can be taken out of it again.

Mode distributed accounts h = t - max(T, 1) shares of variance s^2, what is left in the smallest sum, over t hospitals. A sum over u > t of them
needs only h s^2 / (u - max(T, 1)) from each. So a share is a sum of independent discrete Gaussians: one that is always kept and is enough
where all n hospitals are in the sum, and n - t further ones, of which a sum over u needs the first n - u. The rest of them is
told to the coordinator, once, for the one set that is opened (proof: MECHANISMS.md, "Removing the excess noise").
"""

from functools import cache
from math import isqrt

import numpy as np
from numpy.typing import NDArray

# A layer is a discrete Gaussian of at least this scale, or none: the proof that their sum is almost one rests on it.
LEAST_SCALE = 8
# What a hospital tells of its spare noise is believed up to so many standard deviations: exceeded once in 10^32 draws.
BELIEVED_DEVIATIONS = 12


@cache
def layer_scales(scale: int, shares: int, spare: int) -> tuple[int, ...]:
    """Integer standard deviations of the layers, (spare + 1,), the one that is always kept first; 0 for a layer that is not needed.

    Exact in integers: with k layers out, (shares + k) times the variance of the others is at least shares * scale^2.

    Args:
        scale: s, >= 8.
        shares: h, >= 1.
        spare: n - t, >= 0.
    """
    if spare == 0:
        return (scale,)
    found: list[int] = []
    for out in range(spare, -1, -1):
        needed = -(-shares * scale * scale // (shares + out))
        missing = needed - sum(layer * layer for layer in found)
        found.append(max(LEAST_SCALE, isqrt(missing - 1) + 1) if missing > 0 else 0)
    return tuple(found)


def kept_variance(layers: tuple[int, ...], out: int) -> int:
    """Variance of a share without its last `out` layers."""
    return sum(scale * scale for scale in layers[: len(layers) - _in_range(layers, out)])


def spare_part(drawn: NDArray[np.int64], out: int) -> NDArray[np.int64]:
    """The sum of the last `out` layers, (length,), modulo 2^64.

    Args:
        drawn: (layers, length), what was drawn for each layer.
        out: by how many hospitals the sum exceeds the smallest one.
    """
    first = len(drawn) - _in_range(drawn, out)
    return np.asarray(drawn[first:].sum(axis=0, dtype=np.int64), dtype=np.int64)


def is_believable(told: NDArray[np.int64], layers: tuple[int, ...], out: int) -> bool:
    """Whether a hospital can have drawn this as its last `out` layers, (length,)."""
    variance = kept_variance(layers, 0) - kept_variance(layers, out)
    bound = BELIEVED_DEVIATIONS * (isqrt(variance) + 1)
    return bool(np.all((told <= bound) & (told >= -bound)))


def _in_range(layers: tuple[int, ...] | NDArray[np.int64], out: int) -> int:
    return min(max(out, 0), len(layers) - 1)

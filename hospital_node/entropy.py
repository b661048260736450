"""The hospital's only reader of entropy: the operating system's generator, and OpenDP's, which it seeds.

Nothing here takes a seed. Opacus' `secure_mode` is not used: it needs an unmaintained package and would not cure the
leak of floating-point noise; every release of this project is an integer.
"""

import os
from fractions import Fraction
from functools import cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

# Not opendp.prelude, which imports scikit-learn: a second a process.
from opendp import domains, measurements, metrics
from opendp.mod import Measurement, enable_features

_WORD = 1 << 64


class Entropy(Protocol):
    """Unpredictable bytes."""

    def random_bytes(self, count: int) -> bytes:
        """`count` uniform bytes."""
        ...


class OsEntropy:
    """The operating system's generator, read anew at each call, so that forks and restarts never repeat."""

    def random_bytes(self, count: int) -> bytes:
        """`count` uniform bytes."""
        return os.urandom(count)


class DiscreteGaussian:
    """OpenDP's exact discrete Gaussian (Canonne, Kamath & Steinke 2020), keyed by the operating system."""

    def draw(self, count: int, scale: int) -> NDArray[np.int64]:
        """`count` independent draws from N_Z(0, scale^2).

        Args:
            count: >= 0.
            scale: standard deviation, an integer in [1, 2^53] (exact as a double).

        Raises:
            ValueError: the scale is not such an integer.
        """
        if not 1 <= scale <= 1 << 53:
            raise ValueError("the scale must be in [1, 2^53]; change noise or units")
        if count == 0:
            return np.zeros(0, dtype=np.int64)
        return np.array(_measurement(scale)([0] * count), dtype=np.int64)


def poisson_sample(n_patients: int, rate: float, entropy: Entropy) -> NDArray[np.bool_]:
    """Independent inclusion of each patient with probability `rate`.

    Exact: a patient is in when a uniform 64-bit integer is below floor(rate 2^64). Every double of at least 2^-11
    is a multiple of 2^-64; a smaller rate is rounded down by less than 2^-64, which includes nobody more often.

    Args:
        n_patients: >= 0.
        rate: in (0, 1].
        entropy: 8 bytes a patient are read; none at rate 1.

    Returns:
        bool, shape (n_patients,).

    Raises:
        ValueError: the rate is out of range.
    """
    if not 0 < rate <= 1:
        raise ValueError("the sampling rate must be in (0, 1]")
    threshold = int(Fraction(rate) * _WORD)
    if threshold == _WORD:
        return np.ones(n_patients, dtype=np.bool_)
    words = np.frombuffer(entropy.random_bytes(8 * n_patients), dtype=np.uint64)
    return np.asarray(words < np.uint64(threshold), dtype=np.bool_)


def uniform_below(bound: int, entropy: Entropy) -> int:
    """A uniform integer in [0, bound), exact: bytes beyond the bound are thrown away and read again.

    Args:
        bound: >= 1, of any size.
    """
    bits = (bound - 1).bit_length()
    count = max(1, (bits + 7) // 8)
    while True:
        drawn = int.from_bytes(entropy.random_bytes(count), "big") >> (8 * count - bits)
        if drawn < bound:
            return drawn


@cache
def _measurement(scale: int) -> Measurement:
    """OpenDP's Gaussian on integer vectors; the noise stream belongs to the call, not to this object."""
    # The library's opt-in, asked for by every constructor used here.
    enable_features("contrib")
    integers = domains.vector_domain(domains.atom_domain(T="i64"))
    return measurements.make_gaussian(integers, metrics.l2_distance(T="f64"), float(scale))

"""Factors in whole units: integers held in doubles, whose products and sums round nothing, in whatever order a library adds.

BLAS rounds the last rows of a matrix in another order than the others, so that with ordinary products one patient more moves the last
digit of a few others, and truncation can make a whole unit of it that no sensitivity counts. Here every partial sum of a product is
an integer below 2^53, so that a patient's number is the same in every batch, on every machine, with every BLAS.
"""

from dataclasses import dataclass
from math import frexp, sqrt
from typing import Self

import numpy as np
from numpy.typing import NDArray

from privacy.studies.grid import FloatArray

# Integers that doubles hold, one bit in reserve.
_EXACT_BITS = 52
# Columns lie within [-1, 1] and so do units of tanh; whoever is beyond this is no patient of the dictionary and counts as nothing.
LARGEST_VALUE = 2.0
_LARGEST_BITS = 1
# Weights need no more digits than that, however small they are.
_WEIGHT_BITS = 40


@dataclass(frozen=True, slots=True, repr=False)
class Whole:
    """One factor of each patient's coordinates in whole units; it never prints.

    Attributes:
        units: (n, b) integers as doubles, at most LARGEST_VALUE 2**bits in absolute value.
        bits: 2**bits units per 1, a matter of the number of columns alone.
        squares: (n,) squared norm of each row in the values' unit, exact.
    """

    units: FloatArray
    bits: int
    squares: FloatArray

    @classmethod
    def of(cls, values: FloatArray, bits: int, *, constant: bool = False) -> Self:
        """Values truncated toward zero.

        Args:
            values: (n, b), finite and within LARGEST_VALUE, as `unusual` says.
            bits: 2**bits units per 1.
            constant: whether a last column of ones is added.
        """
        units = np.empty((len(values), values.shape[1] + constant))
        inner = units[:, :-1] if constant else units
        np.multiply(values, float(1 << bits), out=inner)
        np.trunc(inner, out=inner)
        if constant:
            units[:, -1] = float(1 << bits)
        squares = np.einsum("ij,ij->i", units, units)
        squares *= 2.0 ** (-2 * bits)
        return cls(units, bits, squares)

    def take(self, places: NDArray[np.intp]) -> Self:
        """The patients at these places."""
        return type(self)(self.units.take(places, axis=0), self.bits, self.squares.take(places))

    def times(self, weights: FloatArray) -> FloatArray:
        """The rows times public weights (b,) or (b, m), exact but for the weights' own truncation and one final rounding."""
        # A row's products add up to at most its largest unit times sqrt(b) times the norm of the weights, below twice the computed one.
        norm = 2.0 * sqrt(float(np.vdot(weights, weights)))
        width = (len(weights).bit_length() + 1) // 2
        taken = self.bits + _LARGEST_BITS + width + max(frexp(norm)[1], -_EXACT_BITS)
        scale = 2.0 ** min(_WEIGHT_BITS, _EXACT_BITS - taken)
        product: FloatArray = self.units @ np.trunc(weights * scale)
        product *= 2.0**-self.bits / scale
        return product


def factor_bits(bits: int, width: int) -> int:
    """Units of one factor of two, of `width` columns within [-1, 1]: half of the bits, less what their norm may take."""
    return bits // 2 - (width.bit_length() + 1) // 2


def unusual(values: FloatArray) -> NDArray[np.bool_] | None:
    """Rows with a number that is not finite or beyond LARGEST_VALUE, shape (n,); None where there are none."""
    sizes = np.abs(values)
    # False for NaN as well.
    if np.maximum.reduce(sizes, axis=None, initial=0.0) <= LARGEST_VALUE:
        return None
    return np.asarray(~(sizes <= LARGEST_VALUE).all(axis=1), dtype=np.bool_)

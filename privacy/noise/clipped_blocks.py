"""Each patient's gradient as a few small factors, clipped as one vector and summed exactly without ever being written out.

The gradient of a linear layer is an outer product: what flows back to its outputs times its inputs. Its norm is the product of two
norms, and truncating both factors toward zero to integers makes each patient's row a vector of integers that is never longer than
the clipped gradient. The sum over patients is then one product of two matrices of integers, exact in doubles as long as every partial
sum stays below 2^53; so many patients at a time are summed.

**No integer row is longer than D = 2^bits, whatever BLAS does.** Write u = 2^-53, g_m = m u / (1 - m u) (Higham, Accuracy and Stability of
Numerical Algorithms, 2nd ed., lemma 3.1), and N for the exact norm of the row that the doubles at hand spell. Sums of m squares, in
any order, are within a factor 1 +- g_m of the exact ones; a block of left and right factors has two of them and four more
operations, and blocks are added: with at most 2^20 coordinates a factor the computed squared norm is at least
N^2 (1 - g_m), m = 2^21 + 2^6. Root, quotient and at most three products behind it cost a factor (1 + u)^6. So what is truncated has norm at most
D (1 - _ROOM) (1 + u)^6 / sqrt(1 - g_m) < D (1 - _ROOM) (1 + 2^-31), truncation makes no coordinate longer, and _ROOM = 2^-29 is four times what
is needed. Squares below the smallest double are lost whole: at most 2^22 of them, none multiplied by more than 2^200 afterwards, so
less than 2^-850 in the squared norm, 2^-425 in the norm, which the rest of the room covers for every clip of at least 2^-380. Sums of
the truncated integers round nothing.

Source: Goodfellow 2015 (arXiv 1510.01799) for norms of outer products; the integers are this project's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from privacy.guarantees.release import UNITS_BITS
from privacy.noise.whole import Whole
from privacy.studies.grid import FloatArray, IntArray

# Relative room below D for the rounding of every norm; the proof above needs a quarter of it.
_ROOM = 2.0**-29
# Integers of doubles, and rows at a time that stay in a core's cache.
_EXACT_BITS = 53
_ROWS_AT_ONCE = 2048
# A patient beyond it counts as nothing: so no product of squares overflows, and none that vanished was to become large.
_LARGEST_SQUARES = 2.0**200
SMALLEST_CLIP = 2.0**-380


@dataclass(frozen=True, slots=True, repr=False)
class Outer:
    """Coordinates weight left_i right_j of each patient, row by row; it never prints.

    Attributes:
        weight: (n,).
        left: (n, a); None for 1.
        right: (n, b).
        constant: whether right's last column is of ones, as beside a bias; its coordinates come behind all others.
    """

    weight: FloatArray
    left: FloatArray | None
    right: Whole
    constant: bool = False


# Coordinates of each patient as they are, (n, a), or as a product, (n, a b).
Block: TypeAlias = FloatArray | Outer


def clipped_sum(blocks: Sequence[Block], clip_l2: float, bits: int = UNITS_BITS) -> IntArray:
    """Sum over patients of their rows held to L2 norm `clip_l2`, 2**bits units per clip, blocks one after the other.

    Each patient's blocks are one vector. A patient with a number that is not finite, or with squares beyond 2^200, counts as
    nothing. Whatever the input, what one patient adds is a vector of integers of norm at most 2**bits, and what it is depends on that
    patient alone.

    Args:
        blocks: at least one, float64, of the same patients; at most 2^20 coordinates each factor.
        clip_l2: >= 2^-380, in the values' unit.
        bits: in [8, 52]; factors of an outer product carry about half of them each.

    Returns:
        int64, shape (length,); wraps modulo 2^64 and never raises for a patient's value.

    Raises:
        ValueError: the clip is too small (a matter of the plan, never of a patient).
    """
    if not clip_l2 >= SMALLEST_CLIP:
        raise ValueError("the clip must be at least 2^-380; raise clip_l2")
    at_once = min(_ROWS_AT_ONCE, 1 << (_EXACT_BITS - bits))
    patients = _patients(blocks)
    with np.errstate(all="ignore"):
        if patients <= at_once:
            return _sum_of(blocks, clip_l2, bits)
        parts = [
            _sum_of([_part(block, slice(start, start + at_once)) for block in blocks], clip_l2, bits)
            for start in range(0, patients, at_once)
        ]
        return np.asarray(np.sum(parts, axis=0), dtype=np.int64)


def _sum_of(blocks: Sequence[Block], clip_l2: float, bits: int) -> IntArray:
    """The same for patients few enough that doubles hold every partial sum."""
    squares, largest = _measured(blocks)
    # False for NaN as well.
    if not np.maximum.reduce(largest, initial=0.0) <= _LARGEST_SQUARES:
        usual = largest <= _LARGEST_SQUARES
        blocks, squares = [_part(block, usual) for block in blocks], squares[usual]
    norms = np.sqrt(squares)
    np.maximum(norms, clip_l2 * (1 - _ROOM), out=norms)
    factors = np.divide(float(1 << bits) * (1 - _ROOM), norms, out=norms)
    sums = [part for block in blocks for part in _summed(block, factors)]
    return np.concatenate(sums, dtype=np.int64, casting="unsafe")


def _measured(blocks: Sequence[Block]) -> tuple[FloatArray, FloatArray]:
    """Squared norm of each patient's row, (n,), and a bound of all the squares that were multiplied for it."""
    squares: FloatArray | None = None
    largest: FloatArray | None = None
    for block in blocks:
        if isinstance(block, Outer):
            weight, factors = block.weight * block.weight, block.right.squares
            beside = weight + factors
            if block.left is not None:
                left = np.einsum("ij,ij->i", block.left, block.left)
                beside += left
                factors = left * factors
            weight *= factors
            largest = beside if largest is None else largest + beside
        else:
            weight = np.einsum("ij,ij->i", block, block)
        squares = weight if squares is None else squares + weight
    assert squares is not None, "a gradient has coordinates"
    return squares, squares if largest is None else largest + squares


def _summed(block: Block, factors: FloatArray) -> tuple[FloatArray, ...]:
    """Exact sum over patients of a block's coordinates times their factors, as truncated integers, in one piece or two."""
    if not isinstance(block, Outer):
        rows = block * factors[:, None]
        np.trunc(rows, out=rows)
        return (np.add.reduce(rows, axis=0),)
    weight = block.weight * factors
    weight *= 2.0**-block.right.bits
    if block.left is None:
        np.trunc(weight, out=weight)
        return (weight @ block.right.units,)
    rows = block.left * weight[:, None]
    np.trunc(rows, out=rows)
    product = rows.T @ block.right.units
    return (product[:, :-1].ravel(), product[:, -1]) if block.constant else (product.ravel(),)


def _part(block: Block, some: slice | NDArray[np.bool_]) -> Block:
    if not isinstance(block, Outer):
        return block[some]
    left, right = block.left, block.right
    return Outer(
        block.weight[some],
        None if left is None else left[some],
        Whole(right.units[some], right.bits, right.squares[some]),
        block.constant,
    )


def _patients(blocks: Sequence[Block]) -> int:
    first = blocks[0]
    return len(first.weight if isinstance(first, Outer) else first)

"""Each patient's gradient as a few small factors, clipped as one vector and summed exactly without ever being written out.

The gradient of a linear layer is an outer product: what flows back to its outputs times its inputs. Its norm is the product of two
norms, and truncating both factors toward zero to integers makes each patient's row a vector of integers that is never longer than
the clipped gradient. The sum over patients is then one product of two matrices of integers, exact in doubles as long as every partial
sum stays below 2^53; so many patients at a time are summed.

Source: Goodfellow 2015 (arXiv 1510.01799) for norms of outer products; the integers are this project's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from privacy.grid import FloatArray, IntArray
from privacy.plan import UNITS_BITS

# Relative room below D: it covers the rounding of every norm here, of up to 2^20 squares.
_ROOM = 2.0**-29
# Integers of doubles, and rows at a time that stay in a core's cache.
_EXACT_BITS = 53
_ROWS_AT_ONCE = 2048
# Below it squares have lost digits or vanished; so short a part counts as zero.
_SMALLEST_SQUARES = 1e-290


@dataclass(frozen=True, slots=True, repr=False)
class Outer:
    """Coordinates left_i right_j of each patient, row by row; it never prints.

    Attributes:
        left: (n, a). right: (n, b).
    """

    left: FloatArray
    right: FloatArray


# Coordinates of each patient as they are, (n, a), or as an outer product, (n, a b).
Block: TypeAlias = FloatArray | Outer


def clipped_sum(blocks: Sequence[Block], clip_l2: float, bits: int = UNITS_BITS) -> IntArray:
    """Sum over patients of their rows held to L2 norm `clip_l2`, 2**bits units per clip, blocks one after the other.

    Each patient's blocks are one vector. A patient with a number that is not finite, or with squares beyond a double, counts as
    nothing. Whatever the input, what one patient adds is a vector of integers of norm at most 2**bits: the factor that brings the
    vector below it is computed with room for every rounding, and truncation makes no coordinate longer.

    Args:
        blocks: at least one, float64, of the same patients; fewer than 2^20 coordinates each factor.
        clip_l2: > 0, in the values' unit.
        bits: in [8, 52]; factors of an outer product carry half of them each.

    Returns:
        int64, shape (length,); wraps modulo 2^64 and never raises for a patient's value.
    """
    at_once = min(_ROWS_AT_ONCE, 1 << (_EXACT_BITS - bits))
    patients = len(blocks[0].left if isinstance(blocks[0], Outer) else blocks[0])
    total: IntArray = np.zeros(sum(map(_length, blocks)), dtype=np.int64)
    with np.errstate(all="ignore"):
        for start in range(0, patients, at_once):
            some = slice(start, start + at_once)
            total = total + _sum_of([_part(block, some) for block in blocks], clip_l2, bits)
    return total


def _sum_of(blocks: Sequence[Block], clip_l2: float, bits: int) -> IntArray:
    """The same for patients few enough that doubles hold every partial sum."""
    units = float(1 << bits)
    parts = [_Part.of(block, bits // 2) for block in blocks]
    squares = sum(part.squares for part in parts)
    norms = np.sqrt(squares)
    factors = np.minimum(units / clip_l2, units * (1 - _ROOM) / norms)
    finite = np.isfinite(factors) & np.isfinite(norms)
    broken = None if finite.all() else ~finite
    return np.concatenate([part.summed(factors, broken) for part in parts]).astype(np.int64)


@dataclass(frozen=True, slots=True, repr=False)
class _Part:
    """A block with what is needed before the clip is known.

    Attributes:
        rows: the block, or the left factor of an outer product; a row too short for its squares is zero.
        right: the right factor as integers, right_scale units per 1, or None.
        right_scale: a power of two that depends on the number of columns alone: on a patient's row it would move the others'.
        squares: squared norm of each patient's coordinates, (n,).
    """

    rows: FloatArray
    right: FloatArray | None
    right_scale: float
    squares: FloatArray

    @classmethod
    def of(cls, block: Block, right_bits: int) -> "_Part":
        """Measure a block."""
        if not isinstance(block, Outer):
            rows, squares = _measured(block)
            return cls(rows, None, 1.0, squares)
        left, left_squares = _measured(block.left)
        right, right_squares = _measured(block.right)
        # Columns lie within [-1, 1], so that a row of b of them is no longer than sqrt(b). A longer one loses digits on its left.
        scale = 2.0 ** (right_bits - (right.shape[1].bit_length() + 1) // 2)
        right = right * scale
        np.trunc(right, out=right)
        return cls(left, right, scale, left_squares * right_squares)

    def summed(self, factors: FloatArray, broken: np.ndarray | None) -> FloatArray:
        """Exact sum of the rows times their factors, truncated toward zero, without the broken rows."""
        rows = self.rows * (factors / self.right_scale)[:, None]
        np.trunc(rows, out=rows)
        if broken is not None:
            rows[broken] = 0.0
        if self.right is None:
            return np.asarray(np.ones(len(rows)) @ rows)
        if broken is not None:
            self.right[broken] = 0.0
        return np.asarray((rows.T @ self.right).ravel())


def _measured(rows: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Rows and their squared norms; where those have lost digits, zeros."""
    squares = np.einsum("ij,ij->i", rows, rows)
    if squares.size and squares.min() < _SMALLEST_SQUARES:
        short = squares < _SMALLEST_SQUARES
        return np.where(short[:, None], 0.0, rows), np.where(short, 0.0, squares)
    return rows, np.asarray(squares)


def _part(block: Block, some: slice) -> Block:
    return Outer(block.left[some], block.right[some]) if isinstance(block, Outer) else block[some]


def _length(block: Block) -> int:
    if isinstance(block, Outer):
        return int(block.left.shape[1] * block.right.shape[1])
    return int(block.shape[1])

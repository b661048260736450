"""Integers in, noisy integers out: the only way in which patients' numbers become a release.

No floating-point number derived from a patient is ever noised: rows are clipped and truncated to integers whose L2
norm is at most D = 2**units_bits, summed exactly, and an exact discrete Gaussian is added. What follows (reduction
modulo the ring, decoding, dividing) is post-processing.
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from privacy.guarantees.release import UNITS_BITS, Release

# Relative room below D for the rounding of norm and product; rows on the clip lose this much, 2e-9.
_ROOM = 2.0**-29
# Of at most this many squares: their sum is within g_m, m = 2^20 + 4 (Higham 2002, lemma 3.1), however it is ordered, so that the norm
# errs by less than 2^-33 and quotient and product by 2^-51; the room is sixteen times that. The proof is in MECHANISMS.md.
MAXIMUM_COLUMNS = 1 << 20


class Sampler(Protocol):
    """A source of exact discrete Gaussian noise; the hospital's is `hospital_node.entropy.DiscreteGaussian`."""

    def draw(self, count: int, scale: int) -> Sequence[int] | NDArray[np.int64]:
        """`count` independent draws from N_Z(0, scale^2)."""
        ...


def quantize(values: ArrayLike, clip_l2: float, bits: int = UNITS_BITS) -> NDArray[np.int64]:
    """Clip each row to L2 norm `clip_l2` and truncate it toward zero to integers, 2**bits units per clip.

    A patient's row is one vector over all parameters. A row with NaN or infinity contributes zero. The integer norm
    of every row is at most 2**bits, whatever the input; rows shorter than the clip lose less than one unit a
    coordinate.

    Args:
        values: float64, shape (n_rows, n_columns), n_columns <= 2**20; need not be clipped already.
        clip_l2: > 0, in the values' unit.
        bits: in [8, 52].

    Returns:
        int64, shape (n_rows, n_columns).

    Raises:
        ValueError: the shape is not two-dimensional or too wide (a matter of the model, never of a patient).
    """
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[1] > MAXIMUM_COLUMNS:
        raise ValueError(f"rows have shape {rows.shape}; expected (rows, columns) with at most 2^20 columns")
    if rows.size == 0:
        return np.zeros(rows.shape, dtype=np.int64)
    units = float(1 << bits)
    finite = np.isfinite(rows).all(axis=1, keepdims=True)
    rows = np.where(finite, rows, 0.0)
    # Scaled by the largest entry first: squares of 1e200 overflow and squares of 1e-200 vanish.
    largest = np.abs(rows).max(axis=1, keepdims=True)
    shape = np.divide(rows, largest, out=np.zeros_like(rows), where=largest > 0)
    norm = np.sqrt(np.square(shape).sum(axis=1, keepdims=True))
    with np.errstate(over="ignore"):
        unclipped = largest * (units / clip_l2)
    clipped = units * (1 - _ROOM) / np.maximum(norm, 1.0)
    return np.asarray(np.trunc(shape * np.minimum(unclipped, clipped)), dtype=np.int64)


def noisy_sum(rows: NDArray[np.int64], scale: int, sampler: Sampler) -> NDArray[np.int64]:
    """Exact sum of integer rows plus one discrete Gaussian draw per column.

    An empty batch is noised like any other. Sums wrap modulo 2**64 and never raise: an error that depends on the
    data would itself be a release. They fit without wrapping up to 2**(62 - bits) patients on the clip.

    Args:
        rows: int64, shape (n_rows, n_columns), n_rows >= 0.
        scale: standard deviation in units, from `Release.scale_units`.
        sampler: the noise.

    Returns:
        int64, shape (n_columns,).
    """
    total = np.asarray(rows, dtype=np.int64).sum(axis=0, dtype=np.int64)
    return np.asarray(total + _drawn(total.size, scale, sampler), dtype=np.int64)


def noisy_sum_in_layers(
    rows: NDArray[np.int64], scales: tuple[int, ...], sampler: Sampler
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """`noisy_sum` with noise that is a sum of independent draws, and these draws.

    Args:
        rows: as in `noisy_sum`.
        scales: standard deviation of each layer, from `Release.layers`; 0 for none.
        sampler: the noise.

    Returns:
        int64, shape (n_columns,), the sum; int64, shape (layers, n_columns), what was drawn: as secret as the exact sum.
    """
    total = np.asarray(rows, dtype=np.int64).sum(axis=0, dtype=np.int64)
    drawn = np.zeros((len(scales), total.size), dtype=np.int64)
    for layer, scale in enumerate(scales):
        if scale > 0:
            drawn[layer] = _drawn(total.size, scale, sampler)
    return np.asarray(total + drawn.sum(axis=0, dtype=np.int64), dtype=np.int64), drawn


def _drawn(count: int, scale: int, sampler: Sampler) -> NDArray[np.int64]:
    draws = sampler.draw(count, scale)
    if isinstance(draws, np.ndarray) and draws.dtype == np.int64:
        noise = draws
    else:
        noise = np.array([int(draw) & 0xFFFFFFFFFFFFFFFF for draw in draws], dtype=np.uint64).view(np.int64)
    if noise.shape != (count,):
        raise ValueError(f"the sampler drew {noise.size} numbers for {count} columns")
    return noise


def decode(total: NDArray[np.int64], clip_l2: float, bits: int = UNITS_BITS) -> NDArray[np.float64]:
    """A sum of integer rows in the values' unit; post-processing, float64 of the same shape."""
    return np.asarray(total, dtype=np.float64) * (clip_l2 / (1 << bits))


def release_rows(values: ArrayLike, release: Release, sampler: Sampler) -> NDArray[np.int64]:
    """One noisy integer sum as `release` prescribes: its clip, its units, its noise, nothing retyped."""
    rows = quantize(values, release.clip_l2, release.units_bits)
    return noisy_sum(rows, release.scale_units(), sampler)


def decode_release(total: NDArray[np.int64], release: Release) -> NDArray[np.float64]:
    """`decode` with the clip and units of `release`."""
    return decode(total, release.clip_l2, release.units_bits)


def noised(total: NDArray[np.int64], scale: int, sampler: Sampler) -> NDArray[np.int64]:
    """`noisy_sum` of rows that were added exactly already, (n_columns,)."""
    return np.asarray(total + _drawn(total.size, scale, sampler), dtype=np.int64)

"""Real vectors to ring elements and back.

An integer v stands in the ring as v modulo 2**bits; a sum is read back as the representative nearest zero. Nothing here
clamps: what was noised goes in modulo 2**bits as it is, because noise that is clamped is another mechanism.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from secagg.errors import OutsideClip, ParameterError, RingOverflow
from secagg.masks import Ring
from secagg.memory import fresh_vector

# Failure of a sum to fit, over all coordinates together. It would make a result wrong, never less private.
LOG2_OVERFLOW = -40
# Coordinates encoded at a time, so that what is between two steps stays in the processor's cache.
BLOCK = 1 << 14


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """A fixed-point format.

    Attributes:
        fraction_bits: the unit is 2**-fraction_bits.
        clip: largest magnitude of an input coordinate.
        modulus_bits: 32 or 64.
    """

    fraction_bits: int
    clip: float
    modulus_bits: int

    def __post_init__(self) -> None:
        if self.modulus_bits not in (32, 64):
            raise ParameterError("modulus_bits must be 32 or 64")
        if not 0 <= self.fraction_bits <= 52 or not math.isfinite(self.clip) or self.clip <= 0:
            raise ParameterError("fraction_bits must be from 0 to 52 and the clip positive and finite")
        if self.max_summands < 1:
            raise ParameterError("the clip alone does not fit into the ring; lower fraction_bits or the clip")

    @property
    def clip_units(self) -> int:
        """The largest magnitude of an encoded coordinate."""
        return math.ceil(math.ldexp(self.clip, self.fraction_bits))

    @property
    def max_summands(self) -> int:
        """How many vectors can be summed so that every sum is read back right."""
        return ((1 << (self.modulus_bits - 1)) - 1) // self.clip_units

    def encode(self, values: npt.NDArray[np.float64]) -> Ring:
        """Round to the nearest unit, ties to even.

        Args:
            values: real numbers within the clip, any shape.

        Raises:
            OutsideClip: a coordinate is not finite or exceeds the clip.
        """
        flat = values.reshape(-1)
        # Written so that NaN, for which every comparison is false, counts as outside.
        if flat.size and not (-self.clip <= flat.min() and flat.max() <= self.clip):
            raise OutsideClip(int(np.count_nonzero(~(np.abs(flat) <= self.clip))), self.clip)
        ring = fresh_vector(flat.size, _ring(self.modulus_bits))
        units = np.empty(min(flat.size, BLOCK))
        for start in range(0, flat.size, BLOCK):
            block = flat[start : start + BLOCK]
            self._round_into(block, units[: block.size], ring[start : start + BLOCK])
        return ring.reshape(values.shape)

    def encode_block(self, values: npt.NDArray[np.float64], out: Ring) -> None:
        """As `encode` of a block that is in the processor's cache, into its place; the values are overwritten.

        Raises:
            OutsideClip: a coordinate of the block is not finite or exceeds the clip.
        """
        if values.size and not (-self.clip <= values.min() and values.max() <= self.clip):
            raise OutsideClip(int(np.count_nonzero(~(np.abs(values) <= self.clip))), self.clip)
        self._round_into(values, values, out)

    def _round_into(self, values: npt.NDArray[np.float64], units: npt.NDArray[np.float64], out: Ring) -> None:
        np.multiply(values, 2.0**self.fraction_bits, out=units)
        # Exact: within the clip a coordinate fits into the ring, or the format could not have been made.
        signed = out.view("<i4" if self.modulus_bits == 32 else "<i8")
        np.copyto(signed, np.rint(units, out=units), casting="unsafe")

    def decode_sum(self, total: Ring, count: int) -> npt.NDArray[np.float64]:
        """The real sum of `count` encoded vectors.

        Raises:
            RingOverflow: so many summands could have wrapped around.
        """
        if count > self.max_summands:
            raise RingOverflow(count, self.max_summands)
        return np.ldexp(from_ring(total, self.modulus_bits).astype(np.float64), -self.fraction_bits)


def to_ring(values: npt.NDArray[np.signedinteger[Any]], bits: int) -> Ring:
    """Integers modulo 2**bits as little-endian unsigned integers; never clamped.

    Args:
        values: signed integers of any width; object arrays of Python integers work too.
        bits: 32 or 64.
    """
    if values.dtype == object:
        mask = (1 << bits) - 1
        return np.array([int(v) & mask for v in values.ravel()], dtype=_ring(bits)).reshape(values.shape)
    return values.astype(np.int64).astype(_ring(bits), casting="unsafe")


def from_ring(values: Ring, bits: int, *, copy: bool = True) -> npt.NDArray[np.int64]:
    """The representatives in [-2**(bits-1), 2**(bits-1)); without `copy`, of 64 bits the same memory."""
    if values.dtype != _ring(bits):
        raise ParameterError(f"ring elements of {bits} bits are expected")
    return values.view("<i4" if bits == 32 else "<i8").astype(np.int64, copy=copy)


def bits_needed(summands: int, magnitude: int, noise_scale: float = 0.0, dim: int = 1) -> int:
    """The smallest ring, 32 or 64 bits, that holds the sum but with probability 2**-40.

    Args:
        summands: vectors in the sum.
        magnitude: largest magnitude of one coordinate of one vector before noise.
        noise_scale: scale of each summand's discrete Gaussian noise, 0 for none.
        dim: coordinates, over which the failure is shared out.

    Raises:
        RingOverflow: not even 64 bits do.
    """
    # P(|X| > z s) <= 2 exp(-z^2 / 2) for a (sum of) discrete Gaussian of scale s (Canonne et al. 2020, Corollary 9).
    z = math.sqrt(2 * math.log(2 * dim) - 2 * LOG2_OVERFLOW * math.log(2))
    room = summands * magnitude + math.ceil(z * noise_scale * math.sqrt(summands))
    for bits in (32, 64):
        if room < 1 << (bits - 1):
            return bits
    raise RingOverflow(summands, ((1 << 63) - 1) // max(1, room // summands))


def _ring(bits: int) -> np.dtype[np.unsignedinteger[Any]]:
    if bits not in (32, 64):
        raise ParameterError("a ring has 32 or 64 bits")
    return np.dtype("<u4") if bits == 32 else np.dtype("<u8")

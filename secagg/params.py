"""The parameters that the proof of SPEC.md depends on, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secagg.errors import ParameterError

PROTOCOL_VERSION = 1
MAX_HOSPITALS = 1000
MAX_DIM = 1 << 28

# The last coordinate on the wire is 1 at every hospital, so that the sum shows how many vectors it holds.
CHECK_COORDINATES = 1


def default_threshold(n: int, colluding: int) -> int:
    """The smallest t with t > (n + T) / 2 and t >= T + 2.

    Args:
        n: hospitals on the roster.
        colluding: T, hospitals that may collude with the coordinator.
    """
    return max((n + colluding) // 2 + 1, colluding + 2)


@dataclass(frozen=True, slots=True)
class SecAggParams:
    """Parameters of one study; part of the study agreement, checked by every hospital for itself.

    Attributes:
        n: hospitals on the roster, 3 to 1000.
        colluding: T, hospitals that may collude with the coordinator.
        threshold: t, the smallest set that may be summed and the number of shares that opens it.
        modulus_bits: the ring is the integers modulo 2**modulus_bits; 32 or 64.
        dim: coordinates of one vector, without the check coordinate.
    """

    n: int
    colluding: int
    threshold: int
    modulus_bits: int
    dim: int

    def __post_init__(self) -> None:
        rules = (
            (3 <= self.n <= MAX_HOSPITALS, f"n must be from 3 to {MAX_HOSPITALS}"),
            (0 <= self.colluding < self.n, "colluding must be from 0 to n - 1"),
            (2 * self.threshold > self.n + self.colluding, "threshold must exceed (n + colluding) / 2"),
            (self.threshold >= self.colluding + 2, "threshold must be at least colluding + 2"),
            (self.threshold <= self.n, "threshold must not exceed n"),
            (self.modulus_bits in (32, 64), "modulus_bits must be 32 or 64"),
            (1 <= self.dim <= MAX_DIM, f"dim must be from 1 to {MAX_DIM}"),
        )
        broken = [rule for holds, rule in rules if not holds]
        if broken:
            raise ParameterError(
                f"n={self.n}, colluding={self.colluding}, threshold={self.threshold}, "
                f"modulus_bits={self.modulus_bits}, dim={self.dim}: {'; '.join(broken)}"
            )

    @property
    def ring(self) -> np.dtype[np.unsignedinteger]:
        """The little-endian element type of the ring, also on the wire."""
        return np.dtype("<u4") if self.modulus_bits == 32 else np.dtype("<u8")

    @property
    def wire_dim(self) -> int:
        """Coordinates of a vector on the wire, with the check coordinate."""
        return self.dim + CHECK_COORDINATES

    @property
    def vector_bytes(self) -> int:
        """Length of a masked vector on the wire, in bytes."""
        return self.wire_dim * self.modulus_bits // 8

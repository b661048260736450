"""The parameters that the proof of SPEC.md depends on, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from secagg.errors import ParameterError
from secagg.sparse_table import GRAPH_FAILURE, bits, security_failure

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
class Neighborhood:
    """The sparse graph of SPEC.md, section 10.

    Attributes:
        degree: k, neighbors of one hospital on the roster; even, below n.
        threshold: t_k, neighbors that a set must hold, and shares that open one self-mask.
    """

    degree: int
    threshold: int


@dataclass(frozen=True, slots=True)
class SecAggParams:
    """Parameters of one study; part of the study agreement, checked by every hospital for itself.

    Attributes:
        n: hospitals on the roster, 3 to 1000.
        colluding: T, hospitals that may collude with the coordinator.
        threshold: t, the smallest set that may be summed and the number of shares that opens it.
        modulus_bits: the ring is the integers modulo 2**modulus_bits; 32 or 64.
        dim: coordinates of one vector, without the check coordinate.
        neighborhood: degree and neighbor threshold of the sparse graph; None for the complete graph.
    """

    n: int
    colluding: int
    threshold: int
    modulus_bits: int
    dim: int
    neighborhood: Neighborhood | None = None

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
        if self.neighborhood is not None:
            check_neighborhood(self.n, self.colluding, self.neighborhood)

    @property
    def share_threshold(self) -> int:
        """Shares that open one self-mask: t, or t_k in the sparse graph."""
        return self.threshold if self.neighborhood is None else self.neighborhood.threshold

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


def check_neighborhood(n: int, colluding: int, chosen: Neighborhood) -> None:
    """Raise ParameterError unless one graph fails with probability 2**-44 at most (SPEC.md, section 10.6)."""
    degree, threshold = chosen.degree, chosen.threshold
    if not (2 <= degree < n and degree % 2 == 0 and degree < 2 * threshold <= 2 * degree):
        raise ParameterError(
            f"degree={degree}, neighbor threshold={threshold}: the degree must be even, from 2 to n - 1, and the "
            "threshold above half of it and not above it"
        )
    failure = security_failure(n, colluding, degree, threshold)
    if failure > GRAPH_FAILURE:
        raise ParameterError(
            f"degree={degree}, neighbor threshold={threshold}: a graph of {n} hospitals with {colluding} colluding may fail "
            f"with probability 2**{-bits(failure):.1f}, at most 2**{-bits(GRAPH_FAILURE):.0f} is admitted; "
            "take a row of secagg/SPEC.md, section 10.6"
        )

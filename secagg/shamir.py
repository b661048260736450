"""Shamir secret sharing over the integers modulo the prime 2**256 - 189.

Source: Shamir, "How to share a secret", CACM 22 (1979). Python integers are not constant-time: a hospital shares its own
fresh seed on its own machine, and the coordinator reconstructs seeds it is meant to know.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence

from secagg.errors import ParameterError

PRIME = (1 << 256) - 189
SHARE_BYTES = 32
# 128 bits more than the field has: the reduction's bias is below 2**-127.
WIDE_BYTES = 48


def field_element(wide: bytes) -> int:
    """A field element from WIDE_BYTES uniform bytes."""
    if len(wide) != WIDE_BYTES:
        raise ParameterError(f"a field element is drawn from {WIDE_BYTES} bytes")
    return int.from_bytes(wide, "big") % PRIME


def split(secret: int, coefficients: Sequence[int], positions: Iterable[int]) -> dict[int, bytes]:
    """Shares of a polynomial with the secret as constant term.

    Args:
        secret: in [0, PRIME).
        coefficients: threshold - 1 uniform field elements, of x, x**2, ...
        positions: share indices, distinct and not zero modulo PRIME.

    Returns:
        Position to share, 32 bytes each, big-endian.
    """
    shares = {}
    for position in positions:
        if not 0 < position < PRIME:
            raise ParameterError("a share index of zero would be the secret itself")
        value = 0
        for coefficient in reversed((secret, *coefficients)):
            value = (value * position + coefficient) % PRIME
        shares[position] = value.to_bytes(SHARE_BYTES, "big")
    return shares


@functools.lru_cache(maxsize=64)
def lagrange_at_zero(positions: tuple[int, ...]) -> tuple[int, ...]:
    """Weights w with f(0) = sum of w_i f(positions_i) for every f of degree below len(positions)."""
    if len(set(positions)) != len(positions):
        raise ParameterError("share indices must be distinct")
    weights = []
    for i in positions:
        numerator, denominator = 1, 1
        for j in positions:
            if j != i:
                numerator = numerator * j % PRIME
                denominator = denominator * (j - i) % PRIME
        weights.append(numerator * pow(denominator, -1, PRIME) % PRIME)
    return tuple(weights)


def reconstruct(shares: Mapping[int, bytes]) -> int:
    """The constant term of the polynomial of degree below len(shares) through these shares.

    Give exactly threshold shares; whether the result is the dealt secret is for a commitment to say.
    """
    positions = tuple(sorted(shares))
    weights = lagrange_at_zero(positions)
    return sum(w * int.from_bytes(shares[p], "big") for w, p in zip(weights, positions, strict=True)) % PRIME

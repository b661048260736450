"""An exact discrete Gaussian for many draws at once; how it works and why it is exact: MECHANISMS.md.

Every decision compares a uniform number with a constant or with exp of a rational number, by as many of its binary digits as it takes.
The first 64 nearly always tell: uniform words are compared with integers, or with a double from which they are farther than any error
of it. Where they do not tell, integers of any length decide. No rounded number decides anything.

Source: Karney 2016 (ACM TOMS 42, algorithm D, here for an integer deviation and mean 0); the comparison of a lazily drawn uniform
number with bounds that are made as narrow as needed is von Neumann's 1951, in Karney's form.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Fresh uniform 64-bit words, shape (count,).
Words = Callable[[int], NDArray[np.uint64]]

LARGEST_SCALE = 1 << 53
_RANGE = 1 << 64
# Doubles err by less than 2^-50 here, and by less than 2^-41 with an exp that is wrong in its last 4,000 units.
_MARGIN = 2.0**-40
# 71 % of the candidates become draws; so many at a time stay in a core's cache.
_CANDIDATES = 1 << 14


def discrete_gaussian(count: int, scale: int, words: Words) -> NDArray[np.int64]:
    """`count` independent draws from N_Z(0, scale^2), reduced modulo 2^64 into int64.

    The candidate k scale + j, with k >= 0 of weight exp(-k^2 / 2) and j uniform below scale, is kept with probability
    exp(-x (2k + x) / 2), x = j / scale, which leaves weight exp(-(k scale + j)^2 / (2 scale^2)); a uniform sign follows, and
    minus zero is rejected because zero would count twice.

    Args:
        count: >= 0.
        scale: standard deviation, in [2, 2^53].
        words: the randomness.

    Returns:
        int64, shape (count,).

    Raises:
        ValueError: the scale is out of range.
    """
    if not 2 <= scale <= LARGEST_SCALE:
        raise ValueError("the scale must be in [2, 2^53]; change noise or units")
    draws = np.empty(count, dtype=np.int64)
    filled = 0
    while filled < count:
        wanted = count - filled
        # The number of candidates depends on how many draws are missing, never on a candidate.
        some = _candidates(min(_CANDIDATES, wanted + wanted // 2 + 16), scale, words)[:wanted]
        draws[filled : filled + len(some)] = some
        filled += len(some)
    return draws


def _candidates(count: int, scale: int, words: Words) -> NDArray[np.int64]:
    """The accepted ones among `count` candidates, in their order."""
    k = _half_normal_integers(count, words)
    width = _RANGE // scale
    j = _below(count, scale * width, words) // np.uint64(width)
    accepted = np.flatnonzero(_accepted(k, j, scale, words))
    k, j = k[accepted], j[accepted].view(np.int64)
    size = k * np.int64(scale) + j
    negative = _fair_bits(len(size), words)
    signed = np.where(negative, -size, size)
    # Zero is rare and counts twice.
    return signed if np.all(signed) else signed[~(negative & (size == 0))]


def _accepted(k: NDArray[np.int64], j: NDArray[np.uint64], scale: int, words: Words) -> NDArray[np.bool_]:
    """Independent coins, true with probability exp(-g) exactly, g = x (2k + x) / 2, x = j / scale.

    A coin is true where a uniform real number U is below exp(-g). Doubles decide only where the first 64 digits of U are farther from
    their exp(-g) than _MARGIN; elsewhere integers decide by as many digits as it takes.
    """
    drawn = words(len(k))
    # -g = -x (k + x / 2)
    x = j.view(np.int64) / np.float64(scale)
    power = x * -0.5
    power -= k
    power *= x
    distance = drawn * 2.0**-64
    distance -= np.exp(power, out=power)
    heads = distance < 0
    for i in np.flatnonzero(np.abs(distance) <= _MARGIN):
        heads[i] = below_exp(
            int(drawn[i]), int(j[i]) * (2 * int(k[i]) * scale + int(j[i])), 2 * scale**2, words
        )
    return heads


def below_exp(value: int, above: int, below: int, words: Words) -> bool:
    """Whether a uniform number whose first 64 binary digits are `value` is below exp(-above / below); further digits are drawn here.

    Args:
        value: in [0, 2^64).
        above: >= 0. below: >= 1.
        words: the further digits.
    """
    if above == 0:
        return True
    digits = 64
    while True:
        low, high = exp_bounds(above, below, digits)
        if value + 1 <= low:
            return True
        if value >= high:
            return False
        # exp of a rational number other than 0 is irrational, so this ends.
        digits += 64
        value = (value << 64) | int(words(1)[0])


def exp_bounds(above: int, below: int, digits: int) -> tuple[int, int]:
    """Integers low <= exp(-above / below) 2^digits <= high, for above / below < 2^10.

    Fixed point with 128 digits more: each term of the two series errs by less than 2 of the last digits, each of fewer than 2^10
    products adds the errors of its factors and 1, so that the whole error is below 2^32 of them.
    """
    places = digits + 128
    whole, rest = divmod(above, below)
    value, root = _series(rest, below, places), _series(1, 1, places)
    for _ in range(whole):
        value = (value * root) >> places
    return (value - (1 << 32)) >> 128, ((value + (1 << 32)) >> 128) + 1


def _series(above: int, below: int, places: int) -> int:
    """exp(-above / below) 2^places for above <= below, by its Taylor series."""
    total = term = 1 << places
    n = 0
    while term:
        n += 1
        term = term * above // (below * n)
        total += -term if n % 2 else term
    return total


def _half_normal_integers(count: int, words: Words) -> NDArray[np.int64]:
    """`count` independent integers k >= 0 of weight exp(-k^2 / 2).

    k is how many of the constants F_1 < F_2 < ..., F_m = P(k < m), are at most a uniform number. Its first 64 binary digits nearly
    always tell; where they are those of a constant, digits are drawn until it is decided.
    """
    drawn = words(count)
    first = first_digits()
    # Not searchsorted: its branches on random words cost more than ten comparisons without any.
    reached = np.zeros(count, dtype=np.int8)
    tied = np.zeros(count, dtype=np.bool_)
    for constant in first:
        reached += drawn >= constant
        tied |= drawn == constant
    k = reached.astype(np.int64)
    for i in np.flatnonzero(tied):
        k[i] = _decided(int(drawn[i]), words)
    return k


@cache
def first_digits() -> NDArray[np.uint64]:
    """The first 64 digits of F_1, F_2, ..., up to the first that are all ones, as those of all further constants are."""
    digits = [low >> 64 for low, _ in cumulative(128)]
    return np.array([*(word for word in digits if word < _RANGE - 1), _RANGE - 1], dtype=np.uint64)


def _decided(value: int, words: Words) -> int:
    """k of a uniform number whose first 64 digits are `value` and whose further ones are drawn here."""
    digits = 64
    while True:
        digits += 64
        value = (value << 64) | int(words(1)[0])
        bounds = cumulative(digits)
        k = sum(high <= value for _, high in bounds)
        # Not inside the bounds of a constant, and not beyond the last one that was computed.
        if k < len(bounds) and value + 1 <= bounds[k][0]:
            return k


def cumulative(digits: int) -> list[tuple[int, int]]:
    """Bounds (low, high) of F_m 2^digits for m = 1, 2, ..., low <= F_m 2^digits <= high, as far as F_m differs from 1 in these digits.

    Fixed point with 128 digits more: each of fewer than 2^10 multiplications and additions errs by at most 2^10 of the last digits.
    """
    places = digits + 128
    one = 1 << places
    root = term = one
    n = 0
    while term:
        n += 1
        term //= 2 * n
        root += term if n % 2 == 0 else -term
    # exp(-k^2 / 2) by exp(-(k + 1)^2 / 2) = exp(-k^2 / 2) exp(-k) exp(-1/2).
    weights, step = [one], root
    while weights[-1]:
        weights.append((weights[-1] * step) >> places)
        step = (step * ((root * root) >> places)) >> places
    total = sum(weights)
    bounds, below = [], 0
    for weight in weights:
        below += weight
        value = (below << digits) // total
        if value >= (1 << digits) - 2:
            break
        bounds.append((value - 1, value + 2))
    return bounds


def _fair_bits(count: int, words: Words) -> NDArray[np.bool_]:
    """Independent fair coins, 64 a word."""
    packed = words((count + 63) // 64).view(np.uint8)
    return np.unpackbits(packed, count=count, bitorder="little").view(np.bool_)


def _below(count: int, limit: int, words: Words) -> NDArray[np.uint64]:
    """Uniform words below `limit`, in (2^63, 2^64]: whoever is beyond is drawn anew."""
    drawn = words(count)
    if limit < _RANGE:
        beyond = np.flatnonzero(drawn >= np.uint64(limit))
        while beyond.size:
            drawn[beyond] = words(len(beyond))
            beyond = beyond[drawn[beyond] >= np.uint64(limit)]
    return drawn

"""An exact discrete Gaussian for many draws at once, in integers only; how it works and why it is exact: MECHANISMS.md.

Every decision compares a uniform 64-bit word with an integer that is a multiple of floor(2^64 / m), after words at or beyond
m floor(2^64 / m) were drawn anew, so that each coin has exactly the rational probability it names; or it compares a uniform number
with a constant digit by digit, for as many digits as it takes. No floating-point number occurs, and no rounded exp.

Source: Karney 2016 (ACM TOMS 42, algorithm D, here for an integer deviation and mean 0); von Neumann 1951 and Forsythe 1972
for coins of probability exp(-g), in the form of Canonne, Kamath & Steinke 2020 (arXiv 2004.00010, algorithm 1).
"""

from collections.abc import Callable
from functools import cache

import numpy as np
from numpy.typing import NDArray

# Fresh uniform 64-bit words, shape (count,).
Words = Callable[[int], NDArray[np.uint64]]
Indices = NDArray[np.intp]
# One throw for each of the still active coins, at the K-th step of the series of exp.
Throw = Callable[[Indices, int], NDArray[np.bool_]]

LARGEST_SCALE = 1 << 53
_RANGE = 1 << 64
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
    j = _below(len(k), scale * width, words) // np.uint64(width)
    kept = np.flatnonzero(_exp_coins(len(k), _x_squared_over_two(j, scale, words)))
    k, j = k[kept], j[kept]
    # k times exp(-x): whoever fails once is out.
    alive = np.flatnonzero(k >= 0)
    accepted = np.zeros(len(k), dtype=np.bool_)
    thrown = 0
    while alive.size:
        done = k[alive] == thrown
        accepted[alive[done]] = True
        alive = alive[~done]
        alive = alive[_exp_coins(len(alive), _x(j[alive], scale, words))]
        thrown += 1
    k, j = k[accepted], j[accepted]
    size = k * np.int64(scale) + j.astype(np.int64)
    negative = _coins(len(size), 1, 2, words)
    return np.asarray(np.where(negative, -size, size)[~(negative & (size == 0))], dtype=np.int64)


def _half_normal_integers(count: int, words: Words) -> NDArray[np.int64]:
    """`count` independent integers k >= 0 of weight exp(-k^2 / 2).

    k is how many of the constants F_1 < F_2 < ..., F_m = P(k < m), are at most a uniform number. Its first 64 binary digits nearly
    always tell; where they are those of a constant, digits are drawn until it is decided.
    """
    drawn = words(count)
    first = first_digits()
    k = np.searchsorted(first, drawn, side="right").astype(np.int64)
    for i in np.flatnonzero((k > 0) & (first[k - 1] == drawn)):
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


def _exp_coins(count: int, throw: Throw) -> NDArray[np.bool_]:
    """Independent coins, true with probability exp(-g) each, from `throw` with probability g / K at step K, g in [0, 1].

    The first failure comes at step K with probability g^(K-1) / (K-1)! - g^K / K!; its sum over odd K is exp(-g).
    """
    heads = np.zeros(count, dtype=np.bool_)
    active = np.arange(count)
    step = 1
    while active.size:
        goes_on = throw(active, step)
        if step % 2:
            heads[active[~goes_on]] = True
        active = active[goes_on]
        step += 1
    return heads


def _x(j: NDArray[np.uint64], scale: int, words: Words) -> Throw:
    """Throws of probability x / K, x = j / scale."""

    def throw(active: Indices, step: int) -> NDArray[np.bool_]:
        heads = np.ones(len(active), dtype=np.bool_) if step == 1 else _coins(len(active), 1, step, words)
        return _narrowed(heads, j[active], scale, words)

    return throw


def _x_squared_over_two(j: NDArray[np.uint64], scale: int, words: Words) -> Throw:
    """Throws of probability x^2 / (2K), x = j / scale."""

    def throw(active: Indices, step: int) -> NDArray[np.bool_]:
        heads = _coins(len(active), 1, 2 * step, words)
        chosen = j[active]
        return _narrowed(_narrowed(heads, chosen, scale, words), chosen, scale, words)

    return throw


def _narrowed(heads: NDArray[np.bool_], j: NDArray[np.uint64], scale: int, words: Words) -> NDArray[np.bool_]:
    """`heads` and an independent coin of probability j / scale each, thrown only where it matters."""
    where = np.flatnonzero(heads)
    heads[where] = _coins(len(where), j[where], scale, words)
    return heads


def _coins(count: int, above: int | NDArray[np.uint64], below: int, words: Words) -> NDArray[np.bool_]:
    """Independent coins, true with probability above / below exactly, above < below < 2^64."""
    width = _RANGE // below
    return np.asarray(_below(count, below * width, words) < np.uint64(width) * above)


def _below(count: int, limit: int, words: Words) -> NDArray[np.uint64]:
    """Uniform words below `limit`, in (2^63, 2^64]: whoever is beyond is drawn anew."""
    drawn = words(count)
    if limit < _RANGE:
        beyond = np.flatnonzero(drawn >= np.uint64(limit))
        while beyond.size:
            drawn[beyond] = words(len(beyond))
            beyond = beyond[drawn[beyond] >= np.uint64(limit)]
    return drawn

"""Which public level of generalization a hospital uses, drawn by the exponential mechanism.

    P(level) proportional to exp(-epsilon cost(level) / 2),   cost(level) = small(level) + weight * loss(level)

small(level) is the number of classes with 1 to k - 1 patients, loss(level) in [0, 1] the public share of detail given
up, and weight a public number of small classes that giving up everything is as bad as.

**The cost has sensitivity 1.** At a fixed level a patient lies in exactly one class. Adding one patient changes the count c of that
class to c + 1 and no other; whether a class counts as small, 1 <= c < k, is 0 or 1, so small(level) changes by at most 1, for every
level at once (an empty class that gets its first patient: +1; k - 1 becomes k: -1; otherwise 0). The rest of the cost is public. So
the mechanism is (epsilon, 0)-private for adding or removing a patient, and (2 epsilon, 0) for replacing one.
Nothing is suppressed: behind the drawn level, a public map, one patient still moves one row.

The draw is exact, in integers: a uniform candidate is accepted with probability exp(-epsilon (cost - least cost) / 2), which gives
that distribution whatever the shift. Sources: McSherry & Talwar 2007, theorem 6; exp(-x) by coin flips: Canonne, Kamath & Steinke
2020 (arXiv 2004.00010), algorithm 1.
"""

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, localcontext
from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
from numpy.typing import NDArray

from privacy.noise.noisy_threshold import Cell, UniformBelow
from privacy.patients.anonymity import generalize
from privacy.patients.field import Field

# One number a quasi-identifier: the position of its level, 0 the finest.
Level = tuple[int, ...]

# A hospital counts small classes for each of them.
MOST_LEVELS = 1024
_DIGITS = 60

# The code of one quasi-identifier at its finest level -> its code at a coarser one.
Coarser = NDArray[np.int64]


def level_count(fields: Sequence[Field]) -> int:
    """How many combinations of levels the fields have."""
    return prod(len(field.levels) for field in fields)


def levels_of(fields: Sequence[Field]) -> tuple[Level, ...]:
    """All combinations, the finest first."""
    return tuple(product(*(range(len(field.levels)) for field in fields)))


def loss(fields: Sequence[Field], level: Level) -> Fraction:
    """Share of the cuts (of a category: of its groups beyond the first) that the level gives up, mean over the fields, in [0, 1]."""
    given_up = Fraction(0)
    for field, position in zip(fields, level, strict=True):
        finest, chosen = _detail(field.levels[0], field), _detail(field.levels[position], field)
        given_up += Fraction(finest - chosen, finest) if finest else 0
    return given_up / len(fields)


def _detail(cuts: Sequence[object], field: Field) -> int:
    return len(cuts) if field.is_number else max(0, len(cuts) - 1)


def coarser_codes(field: Field, position: int) -> Coarser:
    """Code at the level `position` of each code at the finest level, (codes,); missing stays a class of its own."""
    at = field.at_level(position)
    if field.is_number:
        lower = np.array([-np.inf, *field.cut_points], dtype=np.float64)
        mapped = np.searchsorted(np.array(at.cut_points, dtype=np.float64), lower, side="right")
        return np.append(mapped, len(at.cut_points) + 1).astype(np.int64)
    if field.type == "category":
        # Missing cells have the number of categories as their code (hospital_node.stage.quasi_codes).
        codes = np.arange(len(field.categories) + 1, dtype=np.int64)
        for fine, coarse in zip(field.group_of_category, at.group_of_category, strict=True):
            codes[fine] = coarse
        return codes
    return np.arange(3, dtype=np.int64)


def small_classes(counts: Mapping[Cell, int], fields: Sequence[Field], k: int) -> tuple[int, ...]:
    """For each of `levels_of` the number of classes with 1 to k - 1 patients.

    Args:
        counts: patients in each cell of the finest level that has any.
        fields: the quasi-identifiers, in the order of a cell's codes.
        k: >= 1.
    """
    if not counts:
        return (0,) * level_count(fields)
    cells, patients = np.array(list(counts), dtype=np.int64), np.array(list(counts.values()), dtype=np.int64)
    maps = [[coarser_codes(field, p) for p in range(len(field.levels))] for field in fields]
    found = []
    for level in levels_of(fields):
        chosen = [maps[column][position] for column, position in enumerate(level)]
        codes = [table[cells[:, column]] for column, table in enumerate(chosen)]
        classes = generalize(codes, [int(table.max()) + 1 for table in chosen])
        sizes = np.bincount(classes, weights=patients)
        found.append(int(((sizes >= 1) & (sizes < k)).sum()))
    return tuple(found)


def costs(small: Sequence[int], fields: Sequence[Field], k: int, n_public: int) -> tuple[Fraction, ...]:
    """Cost of each level; giving up all detail weighs as n_public / k small classes, the most that so many patients fill to k.

    Args:
        small: of `small_classes`; the only part that depends on patients.
        fields: the quasi-identifiers.
        k: >= 1.
        n_public: the declared size of the hospital.
    """
    weight = Fraction(n_public, k)
    pairs = zip(small, levels_of(fields), strict=True)
    return tuple(count + weight * loss(fields, level) for count, level in pairs)


def choose(cost: Sequence[Fraction], epsilon: float, below: UniformBelow) -> int:
    """Position of the drawn candidate.

    Args:
        cost: one a candidate, sensitivity 1.
        epsilon: > 0.
        below: uniform integers.
    """
    least = min(cost)
    while True:
        position = below(len(cost))
        if _coin(Fraction(epsilon) * (cost[position] - least) / 2, below):
            return position


def probabilities(cost: Sequence[Fraction], epsilon: float) -> tuple[Decimal, ...]:
    """The distribution that `choose` draws from, to 60 digits."""
    with localcontext() as context:
        context.prec = _DIGITS
        exponents = [Fraction(epsilon) * (min(cost) - one) / 2 for one in cost]
        weights = [(Decimal(x.numerator) / Decimal(x.denominator)).exp() for x in exponents]
        return tuple(weight / sum(weights) for weight in weights)


def _coin(gamma: Fraction, below: Callable[[int], int]) -> bool:
    """True with probability exp(-gamma), exactly."""
    while gamma > 1:
        if not _coin_of_unit(Fraction(1), below):
            return False
        gamma -= 1
    return _coin_of_unit(gamma, below)


def _coin_of_unit(gamma: Fraction, below: Callable[[int], int]) -> bool:
    """The same for gamma in [0, 1]: the first failure among coins of gamma / 1, gamma / 2, ... comes at an odd place."""
    place = 1
    while below(gamma.denominator * place) < gamma.numerator:
        place += 1
    return place % 2 == 1

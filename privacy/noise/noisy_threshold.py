"""Which cells of a table are kept: those whose noisy count reaches k, and none that truly has fewer.

    keep a cell of c patients  iff  c + Z - B >= k,   P(Z = z) proportional to exp(-epsilon |z|) on -B..B

Z - B <= 0, so a kept cell truly has at least k patients; a cell of nobody is never kept, so that cells need not be
listed beforehand. One patient added or removed moves one count by 1.

The noise IS a table of integer weights, floor(2^b exp(-epsilon |z|)): the profile is computed from the same integers
that are drawn from, with no floating point between. b is 128, and more where that is too coarse for delta: a weight is short by less
than 1, its neighbor may then be too large by less than exp(epsilon), and all of these together are below delta 2^-40, which the bound B leaves room for. Source for the bound B: discrete Laplace truncated so that the
largest mass of a single value that only one of two neighbors can reach stays below delta (data.md, "Noisy threshold").
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cached_property
from math import ceil, expm1, log, log1p, log2

from privacy.guarantees.plan_error import PlanError

_WEIGHT_BITS = 128
_DIGITS = 80
# What the rounding of weights may take of delta, and what is behind the smallest delta: nobody can tell it from 0.
_ROUNDING = 2.0**-40
SMALLEST_DELTA = 1e-100
# A thousand patients of bound already; beyond it hardly any cell survives and the table of weights only grows.
MAXIMUM_BOUND = 1 << 16

# A uniform integer in [0, n); the hospital's reads the operating system.
UniformBelow = Callable[[int], int]
Cell = tuple[int, ...]


@dataclass(frozen=True)
class ThresholdNoise:
    """The truncated discrete Laplace of one (epsilon, delta).

    Attributes:
        epsilon: > 0. delta: in (0, 1).
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            PlanError: out of range, or so small that the bound explodes.
        """
        if not (0 < self.epsilon <= 50 and SMALLEST_DELTA <= self.delta < 1):
            raise PlanError(
                "stage_threshold", f"epsilon must be in (0, 50] and delta in [{SMALLEST_DELTA:g}, 1)"
            )
        if self.bound > MAXIMUM_BOUND:
            raise PlanError(
                "stage_threshold", "epsilon is so small that no cell would be kept; raise epsilon"
            )

    @property
    def bound(self) -> int:
        """B = ceil(ln(1 + (exp(epsilon) - 1) / (2 delta)) / epsilon), for a delta less what rounding takes."""
        return ceil(log1p(expm1(self.epsilon) / (2 * self.delta * (1 - _ROUNDING))) / self.epsilon)

    @property
    def weight_bits(self) -> int:
        """b, so that 2 B + 1 weights, each short by less than 1 of 2^b, are worth less than delta 2^-40 in all."""
        lost = log2(2 * self.bound + 1) + self.epsilon / log(2)
        return max(_WEIGHT_BITS, ceil(lost - log2(self.delta) - log2(_ROUNDING)))

    @property
    def digits(self) -> int:
        """Decimal digits in which weights are computed."""
        return max(_DIGITS, ceil(0.302 * self.weight_bits) + 30)

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """Integer weights of z = -B..B, (2B + 1,), symmetric, each at least 1."""
        with localcontext() as context:
            context.prec = self.digits
            ratio, whole = (-Decimal(self.epsilon)).exp(), Decimal(1 << self.weight_bits)
            half = [max(1, int(whole * ratio**z)) for z in range(self.bound + 1)]
        return (*half[:0:-1], *half)

    @cached_property
    def total(self) -> int:
        """Sum of the weights."""
        return sum(self.weights)

    def draw(self, below: UniformBelow) -> int:
        """One Z - B, in [-2B, 0].

        Args:
            below: uniform integers.
        """
        left = below(self.total)
        for shifted, weight in enumerate(self.weights):
            if left < weight:
                return shifted - 2 * self.bound
            left -= weight
        raise AssertionError("a uniform integer below the total lies in one of the weights")

    def keep_probability(self, count: int, k: int) -> Fraction:
        """P(count + Z - B >= k), exact; 0 where count < k."""
        # Z - B >= k - count, and index i of the weights stands for Z - B = i - 2B.
        first = max(0, k - count + 2 * self.bound)
        return Fraction(sum(self.weights[first:]), self.total)


@dataclass(frozen=True, slots=True)
class Profile:
    """The smallest delta at which one cell's decision is (epsilon, delta)-private, each way.

    Attributes:
        adding: what is seen with one patient more against without; removing: the other way round.
    """

    adding: Fraction
    removing: Fraction


def privacy_profile(noise: ThresholdNoise, k: int) -> Profile:
    """delta at the noise's own epsilon, over all counts; exact up to the digits of exp(epsilon)."""
    with localcontext() as context:
        context.prec = noise.digits
        grow = Fraction(Decimal(noise.epsilon).exp())
    adding = removing = Fraction(0)
    # Below k - 1 nothing is ever kept and above k + 2B everything is: there both neighbors look alike.
    for count in range(max(0, k - 1), k + 2 * noise.bound + 1):
        fewer, more = noise.keep_probability(count, k), noise.keep_probability(count + 1, k)
        adding = max(adding, more - grow * fewer, (1 - more) - grow * (1 - fewer))
        removing = max(removing, fewer - grow * more, (1 - fewer) - grow * (1 - more))
    return Profile(adding, removing)


def kept_cells(
    counts: Mapping[Cell, int], k: int, noise: ThresholdNoise, below: UniformBelow
) -> frozenset[Cell]:
    """The cells that are kept; each truly has at least k patients.

    Args:
        counts: patients in each cell that has any.
        k: at least 1.
    """
    return frozenset(cell for cell, count in counts.items() if count + noise.draw(below) >= k)

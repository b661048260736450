"""One noisy vector that leaves a hospital: its rows, its noise, its event for an accountant.

A release is an integer vector: rows (one per patient, after a stage possibly up to `sensitivity_rows` per patient)
are clipped to L2 norm `clip_l2`, written as integers with `2**units_bits` units per clip, summed exactly, and an
exact discrete Gaussian of integer scale `scale_units` is added per coordinate. In mode distributed each hospital adds
only a share of the noise, and `shares` of them are in every sum that anybody can see (privacy/MECHANISMS.md). What a larger set than the
smallest one does not need of them is taken out again: `spare` layers of each share can be (`privacy.noise.noise_layers`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cache
from math import comb, isfinite, isqrt, nextafter, sqrt
from typing import TYPE_CHECKING, Literal, Self

from privacy.guarantees.plan_error import PlanError
from privacy.noise.noise_layers import kept_variance, layer_scales

if TYPE_CHECKING:
    from dp_accounting import DpEvent

ReleaseKind = Literal["gaussian", "poisson_gaussian"]

UNITS_BITS = 40
MINIMUM_SCALE_UNITS = 8
# The sampler takes its scale as a double and agreements are canonical JSON: integers below 2^53 are exact in both.
MAXIMUM_SCALE_UNITS = 2**53 - 1


@dataclass(frozen=True, slots=True)
class Release:
    """One kind of noisy vector that leaves a hospital, `steps` times.

    Attributes:
        name: "life_table", "train", ...; unique within a plan.
        kind: "gaussian" (every patient, every time) or "poisson_gaussian" (each patient with `sample_rate`).
        noise_multiplier: target standard deviation over the clip of ONE row, > 0.
        sensitivity_rows: rows one patient can add or remove, >= 1; k behind the stage `drop`.
        sample_rate: in (0, 1]; exactly 1 for "gaussian".
        steps: how often it is released, >= 1.
        clip_l2: L2 bound of one row in its natural unit, > 0; 1 for a one-hot count.
        units_bits: integer units per clip are 2**units_bits, in [8, 52].
        shares: h, how many independent noise shares are in whatever is seen of this release; 1 where a hospital's
            vector carries the full noise by itself. Above 1 only for "gaussian".
        spare: by how many hospitals a sum may exceed the smallest one, n - t, where each share's superfluous layers of noise are
            taken out of a larger sum; 0 where nothing is ever taken out. Above 0 only with shares above 1.
        fewest: t, hospitals in the smallest sum that is opened; 0 where spare is 0.
    """

    name: str
    kind: ReleaseKind
    noise_multiplier: float
    sensitivity_rows: int = 1
    sample_rate: float = 1.0
    steps: int = 1
    clip_l2: float = 1.0
    units_bits: int = UNITS_BITS
    shares: int = 1
    spare: int = 0
    fewest: int = 0

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            PlanError: a number out of its range, or noise too small or too large for the integer mechanism.
        """
        if not self.name:
            raise PlanError(self.name, "a release needs a name")
        if self.kind not in ("gaussian", "poisson_gaussian"):
            raise PlanError(
                self.name, f"kind {self.kind!r} is not built; use 'gaussian' or 'poisson_gaussian'"
            )
        if not (isfinite(self.noise_multiplier) and self.noise_multiplier > 0):
            raise PlanError(self.name, "noise_multiplier must be finite and above 0")
        if self.sensitivity_rows < 1 or self.steps < 1:
            raise PlanError(self.name, "sensitivity_rows and steps must be at least 1")
        if not 0 < self.sample_rate <= 1:
            raise PlanError(self.name, "sample_rate must be in (0, 1]")
        if self.kind == "gaussian" and self.sample_rate != 1:
            raise PlanError(self.name, "kind 'gaussian' uses every patient: sample_rate must be 1")
        if not (isfinite(self.clip_l2) and self.clip_l2 > 0):
            raise PlanError(self.name, "clip_l2 must be finite and above 0")
        if self.shares < 1 or (self.shares > 1 and self.kind != "gaussian"):
            raise PlanError(self.name, "shares must be at least 1, and 1 unless the kind is 'gaussian'")
        if self.spare < 0 or (self.spare > 0 and not 1 < self.shares < self.fewest):
            raise PlanError(
                self.name, "spare layers need more than one share, and fewer than hospitals in a sum"
            )
        if self.spare == 0 and self.fewest != 0:
            raise PlanError(self.name, "fewest is 0 where no layer is spare")
        if not 8 <= self.units_bits <= 52:
            raise PlanError(self.name, "units_bits must be in [8, 52]")
        if not MINIMUM_SCALE_UNITS <= self.scale_units() <= MAXIMUM_SCALE_UNITS:
            raise PlanError(
                self.name, "noise scale in units must be in [8, 2^53); change noise or units_bits"
            )

    @property
    def units(self) -> int:
        """Integer units per clip, D."""
        return 1 << self.units_bits

    def sensitivity(self) -> int:
        """L2 bound in units of what one patient adds to or removes from the exact sum."""
        return self.sensitivity_rows * self.units

    def scale_units(self) -> int:
        """Integer standard deviation of one hospital's discrete Gaussian, s = ceil(z D / sqrt(shares)).

        Exact in rational arithmetic: the smallest integer whose square, `shares` times, reaches (z D)^2.
        """
        return _scale_units(self.noise_multiplier, self.units, self.shares)

    def accounted_multiplier(self) -> float:
        """Noise multiplier, per row, that the accountant may use for the sum of `shares` shares."""
        return self.multiplier_seen(self.shares)

    def layers(self) -> tuple[int, ...]:
        """Integer standard deviations of the layers of one hospital's share, (spare + 1,); the first is never taken out."""
        return layer_scales(self.scale_units(), self.shares, self.spare)

    def kept_variance(self, members: int) -> int:
        """Variance, in units squared, that a hospital's share keeps in a sum over so many once its spare layers are out."""
        if self.spare == 0:
            return self.scale_units() ** 2
        return kept_variance(self.layers(), members - self.fewest)

    def multiplier_seen(self, shares: int) -> float:
        """Noise multiplier, per row, where at least `shares` of this release's noise shares remain: sqrt(shares s^2 - 4) / D.

        Where layers are taken out: the least over all sizes of the set, in which one hospital more leaves one share more, each of them
        smaller. One share stands for a hospital's vector alone, whatever the size. Rounded down. The kernel y -> N_Z(y, 4) turns a continuous Gaussian of variance shares s^2 - 4 into the sum of
        discrete ones within the terms that `privacy.guarantees.accounting.DISCRETIZATION_EPSILON` covers (proof in MECHANISMS.md).
        """
        variance = shares * self.scale_units() ** 2
        for more in range(1, self.spare + 1):
            kept = self.kept_variance(self.fewest + more)
            variance = min(variance, kept * (shares + more if shares > 1 else 1))
        return nextafter(isqrt(variance - 4) / self.units, 0.0)

    def noise_sd(self, hospitals: int, removed: int = 0) -> float:
        """Standard deviation of a coordinate of the sum over so many hospitals, in the unit of `clip_l2`.

        Args:
            hospitals: in the sum.
            removed: of how many of them the spare layers are out.
        """
        whole, kept = sum(scale**2 for scale in self.layers()), self.kept_variance(hospitals)
        return sqrt((hospitals - removed) * whole + removed * kept) * (self.clip_l2 / self.units)

    def expected_sd(self, hospitals: int) -> float:
        """`noise_sd` where everybody in the sum takes out what it does not need."""
        return self.noise_sd(hospitals, hospitals if self.spare else 0)

    def split(self, parts: int) -> Self:
        """The share of one of `parts` equal rounds, the event that one round's ledger entry is charged with.

        Raises:
            PlanError: steps is not a multiple of parts.
        """
        if parts < 1 or self.steps % parts:
            raise PlanError(self.name, f"{self.steps} steps cannot be split into {parts} equal rounds")
        return replace(self, steps=self.steps // parts)

    def event(self) -> "DpEvent":
        """The release for an accountant, in multiples of one row's clip.

        A patient who brings up to c rows under Poisson sampling of rows is a mixture of Gaussians with
        sensitivities 0..c and Binomial(c, q) weights (Ganesh 2024, arXiv 2401.10294); in full batch the
        sensitivity is c.
        """
        # Imported here: the library takes a second to import and most readers of a plan do not account.
        from dp_accounting import dp_event

        noise = self.accounted_multiplier()
        rows = self.sensitivity_rows
        single: DpEvent
        if self.kind == "gaussian":
            single = dp_event.GaussianDpEvent(noise / rows)
        elif rows == 1:
            single = dp_event.PoissonSampledDpEvent(self.sample_rate, dp_event.GaussianDpEvent(noise))
        else:
            single = dp_event.MixtureOfGaussiansDpEvent(
                noise, range(rows + 1), binomial_weights(rows, self.sample_rate)
            )
        return dp_event.SelfComposedDpEvent(single, self.steps)

    def to_json(self) -> dict[str, object]:
        """All fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`; every field must be there and no other.

        Raises:
            PlanError: a key is missing, unknown or of the wrong type, or a value is out of range.
        """
        if any(isinstance(value, bool) for value in body.values()):
            raise PlanError(str(body.get("name", "")), "true and false are no numbers")
        match body:
            case {
                "name": str(name),
                "kind": "gaussian" | "poisson_gaussian" as kind,
                "noise_multiplier": float() | int() as noise_multiplier,
                "sensitivity_rows": int(sensitivity_rows),
                "sample_rate": float() | int() as sample_rate,
                "steps": int(steps),
                "clip_l2": float() | int() as clip_l2,
                "units_bits": int(units_bits),
                "shares": int(shares),
                "spare": int(spare),
                "fewest": int(fewest),
                **rest,
            } if not rest:
                return cls(
                    name,
                    kind,
                    float(noise_multiplier),
                    sensitivity_rows,
                    float(sample_rate),
                    steps,
                    float(clip_l2),
                    units_bits,
                    shares,
                    spare,
                    fewest,
                )
        raise PlanError(
            str(body.get("name", "")), f"keys or types are not those of a release: {sorted(map(str, body))}"
        )


@cache
def _scale_units(noise_multiplier: float, units: int, shares: int) -> int:
    """Asked at every step of a training."""
    squared = (Fraction(noise_multiplier) * units) ** 2 / shares
    return isqrt(-(-squared.numerator // squared.denominator) - 1) + 1


def binomial_weights(rows: int, rate: float) -> tuple[float, ...]:
    """Probabilities that 0..rows of `rows` rows are drawn at `rate`, shape (rows + 1,).

    The last weight takes the rounding error of the others, so that they add up to 1 and mass is never lost.
    """
    weights = [comb(rows, j) * rate**j * (1 - rate) ** (rows - j) for j in range(rows)]
    return (*weights, max(0.0, 1 - sum(weights)))

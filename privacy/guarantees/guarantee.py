"""What a patient is promised: a number with everything that gives it meaning, or openly nothing."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context
from math import inf, isnan
from typing import Literal, Self

# Why a study in mode none promises nothing, wherever a number would be.
NOTHING_NOISED = "mode none: nothing is noised; the coordinator sees the exact sum over the named hospitals"

Kind = Literal["dp", "none"]
Adjacency = Literal["add/remove", "replace"]


class NoGuarantee(Exception):
    """A number was asked of a guarantee that has none."""

    def __init__(self, reason: str) -> None:
        """Keep `reason`, the sentence that voided the guarantee."""
        super().__init__(f"there is no formal guarantee to read a number from: {reason}")
        self.reason = reason


class GuaranteeMismatch(Exception):
    """Two guarantees speak of different neighbors or units and cannot be chained."""

    def __init__(self, first: str, second: str) -> None:
        """Name both sides as `unit, adjacency`."""
        super().__init__(
            f"cannot chain a guarantee for ({first}) with one for ({second}); restate one of them"
        )
        self.first = first
        self.second = second


def rounded_up(value: float, digits: int) -> str:
    """The smallest number of so many significant digits that is not below `value`, as `:g` prints it: a bound that is printed smaller is false."""
    if not 0 < value < inf:
        return f"{value:g}"
    written = Context(prec=digits, rounding=ROUND_CEILING).create_decimal(repr(float(value)))
    return f"{float(written):.{digits}g}"


@dataclass(frozen=True, slots=True)
class Guarantee:
    """(epsilon, delta)-indistinguishability for one unit, or the statement that there is none.

    Attributes:
        kind: "dp", or "none", which cannot be read as a number and absorbs whatever follows it.
        epsilon: >= 0, possibly infinite; None exactly when kind is "none".
        delta: in [0, 1]; None exactly when kind is "none".
        unit: whose presence is hidden.
        adjacency: "add/remove" one unit, or "replace" one by another.
        view: who looks, in words a data protection officer reads.
        assumptions: sentences that must be true for the number to hold.
        reason: why there is no guarantee; empty for kind "dp".
    """

    kind: Kind
    epsilon: float | None
    delta: float | None
    unit: str = "patient"
    adjacency: Adjacency = "add/remove"
    view: str = "coordinator"
    assumptions: tuple[str, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        """Refuse half a guarantee.

        Raises:
            ValueError: a "dp" guarantee without numbers or outside their range, a "none" with a number or
                without a reason.
        """
        if self.kind == "none":
            if self.epsilon is not None or self.delta is not None or not self.reason:
                raise ValueError("a guarantee of kind 'none' has a reason and no numbers")
            return
        if self.epsilon is None or self.delta is None or self.reason:
            raise ValueError("a guarantee of kind 'dp' has epsilon and delta and no reason")
        if isnan(self.epsilon) or self.epsilon < 0 or not 0 <= self.delta <= 1:
            raise ValueError(f"epsilon {self.epsilon} or delta {self.delta} is out of range")

    @classmethod
    def dp(
        cls,
        epsilon: float,
        delta: float,
        *,
        unit: str = "patient",
        adjacency: Adjacency = "add/remove",
        view: str = "coordinator",
        assumptions: tuple[str, ...] = (),
    ) -> Self:
        """A formal guarantee."""
        return cls("dp", epsilon, delta, unit, adjacency, view, assumptions)

    @classmethod
    def none(cls, reason: str, *, view: str = "coordinator") -> Self:
        """No guarantee, because of `reason` (one sentence, shown wherever a number would be)."""
        return cls("none", None, None, view=view, reason=reason)

    def number(self) -> float:
        """Epsilon.

        Raises:
            NoGuarantee: kind is "none" or epsilon is infinite.
        """
        if self.epsilon is None:
            raise NoGuarantee(self.reason)
        if self.epsilon == inf:
            raise NoGuarantee("no finite epsilon is known at this delta")
        return self.epsilon

    def then(self, other: Self) -> Self:
        """Both applied to the same patients, one after the other, by basic composition.

        This is the rule for a stage in front of a training whose joint accounting is not known (data.md:
        "(e + e0, d + d0)"). Releases of one plan are never chained with it: `privacy.guarantees.accounting` composes those.

        Raises:
            GuaranteeMismatch: unit or adjacency differ.
        """
        if self.epsilon is None or self.delta is None:
            return self
        if other.epsilon is None or other.delta is None:
            return other
        if (self.unit, self.adjacency) != (other.unit, other.adjacency):
            raise GuaranteeMismatch(f"{self.unit}, {self.adjacency}", f"{other.unit}, {other.adjacency}")
        return type(self).dp(
            self.epsilon + other.epsilon,
            min(1.0, self.delta + other.delta),
            unit=self.unit,
            adjacency=self.adjacency,
            view=self.view if self.view == other.view else f"{self.view}; {other.view}",
            assumptions=tuple(dict.fromkeys(self.assumptions + other.assumptions)),
        )

    def to_json(self) -> dict[str, object]:
        """JSON object of interfaces.md: kind "none" carries a reason and no number at all.

        An infinite epsilon is no JSON number: it is written as kind "none" with the reason.
        """
        if self.epsilon is None or self.epsilon == inf:
            return {
                "kind": "none",
                "view": self.view,
                "reason": self.reason or "no finite epsilon is known at this delta",
            }
        body: dict[str, object] = {
            "kind": "dp",
            "epsilon": self.epsilon,
            "delta": self.delta,
            "unit": self.unit,
            "adjacency": self.adjacency,
            "view": self.view,
        }
        if self.assumptions:
            body["assumptions"] = list(self.assumptions)
        return body

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`.

        Raises:
            ValueError: a key is missing, unknown or of the wrong type.
        """
        match body:
            case {"kind": "none", "view": str(view), "reason": str(reason), **rest} if not rest:
                return cls.none(reason, view=view)
            case {
                "kind": "dp",
                "epsilon": float() | int() as epsilon,
                "delta": float() | int() as delta,
                "unit": str(unit),
                "adjacency": "add/remove" | "replace" as adjacency,
                "view": str(view),
                **rest,
            } if not set(rest) - {"assumptions"}:
                assumptions = rest.get("assumptions", [])
                if not isinstance(assumptions, list) or not all(isinstance(a, str) for a in assumptions):
                    raise ValueError("guarantee.assumptions is a list of sentences")
                return cls.dp(
                    float(epsilon),
                    float(delta),
                    unit=unit,
                    adjacency=adjacency,
                    view=view,
                    assumptions=tuple(assumptions),
                )
        raise ValueError(f"this is not a guarantee: keys {sorted(map(str, body))}")

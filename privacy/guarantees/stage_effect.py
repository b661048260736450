"""What each stage does to the guarantee of the training behind it, per patient, add/remove.

The effect of a stage is one of five values, and the training is asked for its guarantee only through `end_to_end`, as
a function of the rows that one patient can move. So nobody can print the number of a training accounted for one row
behind a stage that moves k, or any number behind a stage that has none.

Source: data.md, "Preprocessing stages and what each does to the guarantee".
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import exp
from typing import assert_never

from privacy.guarantees.guarantee import Guarantee


@dataclass(frozen=True, slots=True)
class Rows:
    """One patient adds or removes at most `rows` rows: 1 behind public clipping, scaling and fixed generalization."""

    rows: int = 1

    def __post_init__(self) -> None:
        """Refuse less than one row.

        Raises:
            ValueError: rows < 1.
        """
        if self.rows < 1:
            raise ValueError("one patient moves at least one row")


@dataclass(frozen=True, slots=True)
class Adds:
    """A paid decision in front, then one row a patient: (e + epsilon, d + delta)."""

    epsilon: float
    delta: float = 0.0


@dataclass(frozen=True, slots=True)
class Replaces:
    """A private synthesizer whose output alone is used: training on it is post-processing."""

    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class Beside:
    """A private synthesizer, and training on the real rows as well: both are paid."""

    epsilon: float
    delta: float


@dataclass(frozen=True, slots=True)
class Voids:
    """One patient can change the output at will: no noise behind it covers a patient."""

    reason: str


Effect = Rows | Adds | Replaces | Beside | Voids

MONDRIAN = (
    "The stage mondrian chooses its cuts from the data, so the noise does not cover one patient: "
    "one patient moved up to 275 of 3000 rows."
)
SDV = "The stage synthetic_sdv fits its generator without a budget: noise then protects synthetic rows, not patients."


def effect_of(kind: str, k: int | None, epsilon: float | None, delta: float | None) -> Effect:
    """The effect of `[stage]` as a study file writes it.

    Raises:
        ValueError: the kind is unknown or lacks what it needs.
    """
    match kind, k, epsilon, delta:
        case "none" | "generalize", _, None, None:
            return Rows()
        case "drop", int(), None, None:
            return Rows(k)
        case "threshold", int(), float() | int(), float():
            return Adds(epsilon, delta)
        case "level", int(), float() | int(), None:
            return Adds(epsilon)
        case "synthetic_dp", _, float() | int(), float():
            return Replaces(epsilon, delta)
        case "mondrian", _, None, None:
            return Voids(MONDRIAN)
        case "synthetic_sdv", _, None, None:
            return Voids(SDV)
    raise ValueError(f"stage {kind!r} with k {k}, epsilon {epsilon} and delta {delta} has no known effect")


def end_to_end(effect: Effect, training: Callable[[int], Guarantee]) -> Guarantee:
    """The guarantee of stage and training together.

    Args:
        effect: of the stage.
        training: the training's guarantee when one patient adds or removes that many rows; accounted for them, never
            multiplied (k times epsilon at the same delta understates the loss).
    """
    return mixed((effect,), training)


def mixed(effects: Sequence[Effect], training: Callable[[int], Guarantee]) -> Guarantee:
    """The guarantee of several stages, one behind the other, and the training together.

    Rows multiply: each of m rows of a patient can move k rows of what follows. A paid decision about a table in which one patient moves
    c rows costs the patient (c e, d (exp(c e) - 1) / (exp(e) - 1)), group privacy (Dwork & Roth 2014, theorem 2.2, with the delta of
    c steps). Behind a private synthesizer whose output alone is used everything is post-processing, also what would void a guarantee
    on real rows; before it, nothing is forgiven.

    Args:
        effects: of the stages in their order.
        training: as in `end_to_end`.
    """
    rows, paid = 1, Guarantee.dp(0.0, 0.0)
    for effect in effects:
        match effect:
            case Rows(more):
                rows *= more
            case Adds(epsilon, delta) | Beside(epsilon, delta):
                paid = paid.then(_of_group(epsilon, delta, rows))
            case Replaces(epsilon, delta):
                return paid.then(_of_group(epsilon, delta, rows))
            case Voids(reason):
                return Guarantee.none(reason)
            case _ as unreachable:
                assert_never(unreachable)
    behind = training(rows)
    return behind.then(replace(paid, view=behind.view)) if paid.epsilon or paid.delta else behind


def _of_group(epsilon: float, delta: float, rows: int) -> Guarantee:
    if rows == 1:
        return Guarantee.dp(epsilon, delta)
    grown = delta * sum(exp(step * epsilon) for step in range(rows))
    return Guarantee.dp(rows * epsilon, min(1.0, grown))

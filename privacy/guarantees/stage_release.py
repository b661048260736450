"""What a stage itself costs, as an entry of plan and ledger beside the noisy vectors.

A noisy threshold and a level drawn by the exponential mechanism are releases with their own (epsilon, delta), added to the training's. A stage whose output one patient
can change at will is written down too: from then on nothing that is composed with it has a number.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import exp, isfinite
from typing import ClassVar, Literal, Self

from privacy.guarantees.charge_json import charge_fields, charge_json
from privacy.guarantees.guarantee import Adjacency
from privacy.guarantees.plan_error import PlanError
from privacy.noise.noisy_threshold import ThresholdNoise
from privacy.synthesis.charges import SynthesisRelease


@dataclass(frozen=True, slots=True)
class ThresholdRelease:
    """The kept set of a noisy threshold, drawn once.

    Attributes:
        epsilon, delta: for adding or removing one patient.
        k: smallest count of a kept cell, >= 1.
        cells: SHA-256 of what defines the cells (fields, cuts, groups), hexadecimal: equal releases are one drawing.
    """

    name: ClassVar[str] = "stage_threshold"
    kind: ClassVar[Literal["noisy_threshold"]] = "noisy_threshold"

    epsilon: float
    delta: float
    k: int
    cells: str

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            PlanError: a number out of range.
        """
        if not isfinite(self.epsilon) or self.k < 1 or len(self.cells) != 64:
            raise PlanError(self.name, "needs a finite epsilon, k of at least 1 and the SHA-256 of its cells")
        _ = self.noise

    @property
    def noise(self) -> ThresholdNoise:
        """What each count gets."""
        return ThresholdNoise(self.epsilon, self.delta)

    def cost(self, adjacency: Adjacency) -> tuple[float, float]:
        """(epsilon, delta); replacing a patient changes two cells, by group privacy (2 e, (1 + exp(e)) d)."""
        if adjacency == "add/remove":
            return self.epsilon, self.delta
        return 2 * self.epsilon, (1 + exp(self.epsilon)) * self.delta

    def to_json(self) -> dict[str, object]:
        """All fields by name, kind and name."""
        return charge_json(self)

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`.

        Raises:
            PlanError: a key is missing, unknown or of the wrong type, or a value is out of range.
        """
        return cls(**charge_fields(cls, body, "a noisy threshold"))


@dataclass(frozen=True, slots=True)
class LevelRelease:
    """A level of generalization, drawn once by the exponential mechanism.

    Attributes:
        epsilon: for adding or removing one patient; delta is 0.
        k: below it a class counts as small, >= 1.
        cells: SHA-256 of what defines the cells of every level, hexadecimal: equal releases are one drawing.
    """

    name: ClassVar[str] = "stage_level"
    kind: ClassVar[Literal["exponential_level"]] = "exponential_level"

    epsilon: float
    k: int
    cells: str

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            PlanError: a number out of range.
        """
        if not 0 < self.epsilon <= 50 or self.k < 1 or len(self.cells) != 64:
            raise PlanError(
                self.name, "needs an epsilon in (0, 50], k of at least 1 and the SHA-256 of its cells"
            )

    def cost(self, adjacency: Adjacency) -> tuple[float, float]:
        """(epsilon, 0); replacing a patient is removing one and adding one, so twice that."""
        return (self.epsilon if adjacency == "add/remove" else 2 * self.epsilon), 0.0

    def to_json(self) -> dict[str, object]:
        """All fields by name, kind and name."""
        return charge_json(self)

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`.

        Raises:
            PlanError: a key is missing, unknown or of the wrong type, or a value is out of range.
        """
        return cls(**charge_fields(cls, body, "a chosen level"))


@dataclass(frozen=True, slots=True)
class VoidRelease:
    """A stage behind which no number covers a patient.

    Attributes:
        stage: its kind in the study file.
        reason: one sentence, shown wherever a number would be.
    """

    kind: ClassVar[Literal["void"]] = "void"

    stage: str
    reason: str

    def __post_init__(self) -> None:
        """Check that there is something to say.

        Raises:
            PlanError: no stage or no reason.
        """
        if not self.stage or not self.reason:
            raise PlanError("stage", "a stage without guarantee needs its kind and its reason")

    @property
    def name(self) -> str:
        """Name among the releases."""
        return f"stage_{self.stage}"

    def to_json(self) -> dict[str, object]:
        """All fields by name, kind and name."""
        return {"name": self.name, "kind": self.kind, "stage": self.stage, "reason": self.reason}

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`.

        Raises:
            PlanError: a key is missing, unknown or of the wrong type.
        """
        match body:
            case {"name": str(name), "kind": cls.kind, "stage": str(stage), "reason": str(reason), **rest}:
                made = cls(stage, reason)
                if not rest and made.name == name:
                    return made
        raise PlanError(
            "stage", f"keys or types are not those of a stage without guarantee: {sorted(map(str, body))}"
        )


DrawnRelease = ThresholdRelease | LevelRelease
# A synthesizer's sums are noisy vectors and compose as such; the other stages are added, or void every number.
BesideVectors = DrawnRelease | VoidRelease
StageRelease = BesideVectors | SynthesisRelease
STAGE_KINDS = (ThresholdRelease.kind, LevelRelease.kind, VoidRelease.kind, SynthesisRelease.kind)


def stage_from_json(body: Mapping[str, object]) -> StageRelease:
    """Inverse of all `to_json`.

    Raises:
        PlanError: of no kind.
    """
    match body.get("kind"):
        case VoidRelease.kind:
            return VoidRelease.from_json(body)
        case LevelRelease.kind:
            return LevelRelease.from_json(body)
        case SynthesisRelease.kind:
            return SynthesisRelease.from_json(body)
        case _:
            return ThresholdRelease.from_json(body)


def void_reason(stages: Iterable[StageRelease]) -> str:
    """Why nothing composed with these stages has a number; "" where it can have one."""
    return next((stage.reason for stage in stages if isinstance(stage, VoidRelease)), "")


def additive_cost(stages: Iterable[StageRelease], adjacency: Adjacency) -> tuple[float, float]:
    """(epsilon, delta) of all thresholds and levels together, by basic composition."""
    costs = [stage.cost(adjacency) for stage in stages if isinstance(stage, DrawnRelease)]
    return sum(epsilon for epsilon, _ in costs), sum(delta for _, delta in costs)

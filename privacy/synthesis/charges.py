"""What a private synthesizer costs as the stage of a study, and what the rounds behind it are charged.

The stage is one entry of plan and ledger: (epsilon, delta) and the noise of its four sums, which compose exactly as Gaussians with whatever
else a ledger holds. A round that sees nothing but the synthetic table is post-processing and costs nothing. Its entry carries the
stage that it lives on, so that the accountant counts the sums where somebody's list leaves the stage itself out.

Source: data.md, "DP synthesizer (e_s, d_s), only its output used: post-processing".
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Final, Literal, Self

from privacy.guarantees.charge_json import charge_fields, charge_json
from privacy.guarantees.plan_error import PlanError

OUTCOME: Final = "synthesis_outcome"
SCORE: Final = "synthesis_score"
MOMENTS: Final = "synthesis_moments"
MARGINS: Final = "synthesis_margins"
SUMS: Final = (OUTCOME, SCORE, MOMENTS, MARGINS)
# What an integer scale of 2^40 units a clip holds (privacy.guarantees.release).
NOISE_RANGE: Final = (1e-6, 8000.0)


@dataclass(frozen=True, slots=True)
class SynthesisRelease:
    """The noised sums behind a synthetic table, drawn once.

    Attributes:
        epsilon, delta: what the table may cost for adding or removing one patient.
        settings: SHA-256 of what decides the sums (fields, horizon, grid), hexadecimal: equal releases are one drawing.
        noise: noise multiplier of each of `SUMS`, every patient, sensitivity one clip.
    """

    name: ClassVar[str] = "stage_synthetic_dp"
    kind: ClassVar[Literal["synthesis"]] = "synthesis"

    epsilon: float
    delta: float
    settings: str
    noise: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            PlanError: a number out of range.
        """
        if not 0 < self.epsilon <= 50 or not 0 < self.delta < 1 or len(self.settings) != 64:
            raise PlanError(
                self.name,
                "needs an epsilon in (0, 50], a delta in (0, 1) and the SHA-256 of its settings",
            )
        low, high = NOISE_RANGE
        if len(self.noise) != len(SUMS) or not all(low <= z <= high for z in self.noise):
            raise PlanError(
                self.name, f"needs a noise multiplier in [{low:g}, {high:g}] for each of {len(SUMS)} sums"
            )

    @property
    def quiet(self) -> Self:
        """The same with noise multiplier 1 in place of the calibrated ones: what follows from the study file alone."""
        return replace(self, noise=(1.0,) * len(SUMS))

    def to_json(self) -> dict[str, object]:
        """All fields by name, kind and name."""
        return charge_json(self)

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`.

        Raises:
            PlanError: a key is missing, unknown or of the wrong type, or a value is out of range.
        """
        return cls(**charge_fields(cls, body, "a private synthesizer"))


@dataclass(frozen=True, slots=True)
class DerivedRelease:
    """A round that is computed from a synthetic table alone; costs nothing beside its source.

    Attributes:
        name: of the round's task.
        source: what the table cost.
        steps: always 1, the round.
    """

    kind: ClassVar[Literal["derived"]] = "derived"
    steps: ClassVar[int] = 1

    name: str
    source: SynthesisRelease

    def __post_init__(self) -> None:
        """Check the name.

        Raises:
            PlanError: it has none.
        """
        if not self.name:
            raise PlanError(self.name, "what is made of a synthetic table needs a name")

    def to_json(self) -> dict[str, object]:
        """Name, kind and source."""
        return {"name": self.name, "kind": self.kind, "source": self.source.to_json()}

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`.

        Raises:
            PlanError: a key is missing, unknown or of the wrong type, or a value is out of range.
        """
        match body:
            case {"name": str(name), "kind": cls.kind, "source": Mapping() as source, **rest} if not rest:
                return cls(name, SynthesisRelease.from_json(source))
        raise PlanError(
            "derived",
            f"keys or types are not those of a round on a synthetic table: {sorted(map(str, body))}",
        )

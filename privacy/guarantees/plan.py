"""The one object that holds every privacy parameter of a study; trainer, ledger, price and PIA read it.

Its releases are noisy vectors (`privacy.guarantees.release`); the stage in front of them is a release of its own where it costs something.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Self

from privacy.guarantees.plan_error import PlanError as PlanError
from privacy.guarantees.release import Release as Release
from privacy.guarantees.stage_release import STAGE_KINDS, BesideVectors, StageRelease, stage_from_json
from privacy.synthesis.charges import SUMS, DerivedRelease, SynthesisRelease

if TYPE_CHECKING:
    from dp_accounting import DpEvent


@dataclass(frozen=True, slots=True)
class DpPlan:
    """Everything a study releases about one patient of one hospital, and the guarantee it was calibrated for.

    Attributes:
        releases: at least one, names unique, in the order in which they happen; none behind a private synthesizer, whose stage pays for all.
        epsilon: target at `delta` for adding or removing one patient, > 0.
        delta: in (0, 1).
        stage: what the stage in front costs by itself; None where it costs nothing of its own. epsilon and delta
            include it.
    """

    releases: tuple[Release, ...]
    epsilon: float
    delta: float
    stage: StageRelease | None = None

    def __post_init__(self) -> None:
        """Check the numbers and that names are unique.

        Raises:
            PlanError: no release, a name twice, epsilon or delta out of range; or noise on synthetic patients, which nobody needs.
        """
        derived = isinstance(self.stage, SynthesisRelease)
        if derived and self.releases:
            raise PlanError(
                self.releases[0].name, "what is made of a private synthetic table is not noised again"
            )
        if not self.releases and not derived:
            raise PlanError("", "a plan has at least one release; without noise the study's mode is 'none'")
        names = [release.name for release in self.releases]
        for name in names:
            if names.count(name) > 1:
                raise PlanError(name, "names of releases must differ")
        if not (isfinite(self.epsilon) and self.epsilon > 0 and 0 < self.delta < 1):
            raise PlanError(names[0] if names else "", "epsilon must be above 0 and delta in (0, 1)")

    def release(self, name: str) -> Release:
        """The release called `name`.

        Raises:
            PlanError: the plan has none of that name, so nothing of that name may leave.
        """
        for release in self.releases:
            if release.name == name:
                return release
        raise PlanError(name, "is not in the plan, so nothing pays for it and it may not leave")

    @property
    def charges(self) -> "tuple[Charge, ...]":
        """Everything that is paid for: the stage, where it is a release of its own, and the releases."""
        return self.releases if self.stage is None else (self.stage, *self.releases)

    @property
    def clip_l2(self) -> float:
        """L2 clip of one row of the last release, the training."""
        return self.releases[-1].clip_l2

    @property
    def units_bits(self) -> int:
        """Units bits of the last release, the training."""
        return self.releases[-1].units_bits

    def sensitivity(self, release: Release) -> int:
        """L2 bound in units of what one patient moves in the exact sum of `release`."""
        return self.release(release.name).sensitivity()

    def scale_units(self, release: Release) -> int:
        """Integer noise scale of `release`."""
        return self.release(release.name).scale_units()

    def event(self) -> "DpEvent":
        """All releases composed; a stage's own cost is added by `privacy.guarantees.accounting`."""
        from dp_accounting import dp_event

        return dp_event.ComposedDpEvent([release.event() for release in self.releases])

    def to_json(self) -> dict[str, object]:
        """Object with releases in order, epsilon and delta, and the stage where it is paid for."""
        body: dict[str, object] = {
            "releases": [release.to_json() for release in self.releases],
            "epsilon": self.epsilon,
            "delta": self.delta,
        }
        return body if self.stage is None else body | {"stage": self.stage.to_json()}

    @classmethod
    def from_json(cls, body: Mapping[str, object]) -> Self:
        """Inverse of `to_json`.

        Raises:
            PlanError: a key is missing, unknown or of the wrong type, or a value is out of range.
        """
        match body:
            case {
                "releases": list(releases),
                "epsilon": float() | int() as epsilon,
                "delta": float() | int() as delta,
                **rest,
            } if all(isinstance(release, Mapping) for release in releases):
                made = tuple(Release.from_json(r) for r in releases)
                match rest:
                    case {"stage": Mapping() as stage, **more} if not more:
                        return cls(made, float(epsilon), float(delta), stage_from_json(stage))
                    case {} if not rest:
                        return cls(made, float(epsilon), float(delta))
        raise PlanError("", f"keys or types are not those of a plan: {sorted(map(str, body))}")


Charge = Release | StageRelease | DerivedRelease


def charge_from_json(body: Mapping[str, object]) -> Charge:
    """What a ledger entry was charged.

    Raises:
        PlanError: the object is neither a noisy vector, nor a stage, nor a round on a synthetic table.
    """
    if body.get("kind") == DerivedRelease.kind:
        return DerivedRelease.from_json(body)
    if body.get("kind") in STAGE_KINDS:
        return stage_from_json(body)
    return Release.from_json(body)


def vectors(charges: Iterable[Charge]) -> tuple[Release, ...]:
    """The noisy vectors among the charges, a synthesizer's four sums as what they are.

    A synthesizer on whose table a round lives and that is not among the charges itself is counted once: no list gets cheaper by
    leaving it out.
    """
    everything = tuple(charges)
    drawn = [charge for charge in everything if isinstance(charge, SynthesisRelease)]
    left_out = {charge.source: None for charge in everything if isinstance(charge, DerivedRelease)}
    hidden = [source for source in left_out if source not in drawn]
    own = tuple(charge for charge in everything if isinstance(charge, Release))
    return (*own, *(release for source in (*drawn, *hidden) for release in sums_of(source)))


def sums_of(source: SynthesisRelease) -> tuple[Release, ...]:
    """The four releases of a synthesizer, in clips of a patient."""
    return tuple(Release(name, "gaussian", noise) for name, noise in zip(SUMS, source.noise, strict=True))


def stages(charges: Iterable[Charge]) -> tuple[BesideVectors, ...]:
    """The stages among the charges whose cost is added to that of the vectors, or that void it."""
    return tuple(charge for charge in charges if isinstance(charge, BesideVectors))

"""The study agreement: every number that hospitals and coordinator act on, as one byte string with one hash.

The coordinator builds it from the study file; each hospital parses it, derives everything derivable again and
refuses what differs. Only the noise is not derived again (it takes seconds to calibrate and a library's last digit may
move): the hospital prices it and refuses when it costs more than the study's epsilon. So a coordinator cannot
loosen what the study file says, and the SHA-256 of the bytes is the study hash of every context.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from pydantic import ValidationError

from privacy.guarantees.accounting import spent
from privacy.guarantees.calibration import calibrate_local, calibrate_shares
from privacy.guarantees.plan import DpPlan, PlanError, Release
from privacy.guarantees.reach import is_within_reach
from privacy.guarantees.stage_release import StageRelease, VoidRelease, additive_cost
from privacy.link.canonical import NotCanonicalError, canonical, parse_canonical, sha256_hex
from privacy.recipes.tasks import LIFE_TABLE_SHARE, Task
from privacy.studies.built import check_events
from privacy.studies.grid import time_grid
from privacy.studies.layout import Layout
from privacy.studies.study import Study, study_from_json
from privacy.studies.study_tasks import expected_releases, share_apart, tasks_of
from privacy.studies.training import Training, resolve_training
from privacy.synthesis.charges import SynthesisRelease
from privacy.synthesis.releases import calibrated
from secagg.params import Neighborhood, SecAggParams

AGREEMENT_VERSION = 1
MODULUS_BITS = 64
MAXIMUM_FRACTION_BITS = 32
# Behind the longest payload every hospital adds its declared size, so that the sum shows who is in it.
WEIGHT_COORDINATES = 1
# Before the weight, where layers of noise can be taken out of a sum: of how many hospitals they are.
REMOVED_COORDINATES = 1
MAX_AGREEMENT_BYTES = 8 << 20


class AgreementError(Exception):
    """An agreement that does not follow from its study; the coordinator's fault.

    Attributes:
        part: which part of the agreement.
        problem: what is wrong with it.
        exit_code: 1, refused.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, part: str, problem: str) -> None:
        """Message: "study agreement, part: problem"."""
        super().__init__(f"study agreement, {part}: {problem}")
        self.part = part
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was agreed.

    Attributes:
        study: the study file's content.
        training: settings by the public rule.
        plan: releases and noise; None in mode none.
        n: hospitals on the roster.
        colluding: T.
        threshold: t.
        modulus_bits: ring of one coordinate.
        dim: coordinates of one vector without secagg's check coordinate: the longest task's payload and the weight.
        parameters: length of the model's flat vector, < dim.
        fraction_bits: fixed point has 2**fraction_bits units per 1.0.
        coordinate_clip: no coordinate before fixed point may exceed it; n of them fit the ring.
        columns: names of the design matrix's columns.
        times_days: K + 1 ends of the intervals, from 0 to the horizon.
        neighborhood: k and t_k of the sparse graph; None for the complete graph.
        data: the bytes that were received or built; their hash is the study hash.
    """

    study: Study
    training: Training
    plan: DpPlan | None
    n: int
    colluding: int
    threshold: int
    modulus_bits: int
    dim: int
    parameters: int
    fraction_bits: int
    coordinate_clip: float
    columns: tuple[str, ...]
    times_days: tuple[float, ...]
    neighborhood: Neighborhood | None = None
    data: bytes = field(default=b"", repr=False, compare=False)
    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def hash(self) -> str:
        """SHA-256 of the bytes, hexadecimal."""
        if "hash" not in self._known:
            self._known["hash"] = sha256_hex(self.to_bytes())
        return str(self._known["hash"])

    @property
    def secagg(self) -> SecAggParams:
        """The parameters of secure aggregation, checked by secagg."""
        return SecAggParams(
            self.n, self.colluding, self.threshold, self.modulus_bits, self.dim, self.neighborhood
        )

    @property
    def noising(self) -> DpPlan | None:
        """The plan where it noises the rounds; None in mode none, and behind a private synthesizer, whose stage pays for all of them."""
        if self.plan is None or isinstance(self.plan.stage, SynthesisRelease):
            return None
        return self.plan

    @property
    def tasks(self) -> tuple[Task, ...]:
        """The recipe: what the rounds ask for, in order."""
        if "tasks" not in self._known:
            self._known["tasks"] = tasks_of(self.study, self.training)
        found: tuple[Task, ...] = self._known["tasks"]
        return found

    def to_json(self) -> dict[str, Any]:
        """Plain JSON value."""
        return {
            "version": AGREEMENT_VERSION,
            "study": self.study.to_json(),
            "training": self.training.model_dump(mode="json"),
            "plan": None if self.plan is None else self.plan.to_json(),
            "secagg": {
                "n": self.n,
                "colluding": self.colluding,
                "threshold": self.threshold,
                "modulus_bits": self.modulus_bits,
                "dim": self.dim,
                "parameters": self.parameters,
                "fraction_bits": self.fraction_bits,
                "coordinate_clip": self.coordinate_clip,
                "neighbors": self.neighborhood and self.neighborhood.degree,
                "neighbor_threshold": self.neighborhood and self.neighborhood.threshold,
            },
            "columns": list(self.columns),
            "times_days": list(self.times_days),
        }

    def to_bytes(self) -> bytes:
        """Canonical JSON."""
        return self.data or canonical(self.to_json())


def build(study: Study) -> Agreement:
    """The agreement of a study; calibrates its noise, which takes seconds.

    Raises:
        StudyError: no noise within reach keeps the study within its epsilon, or the study declares competing risks.
    """
    check_events(study.dictionary)
    training = resolve_training(study)
    if study.epsilon is None or study.delta is None:
        return _derive(study, None)
    if isinstance(study.stage_release, SynthesisRelease):
        return _derive(study, DpPlan((), study.epsilon, study.delta, calibrated(study.stage_release)))
    assert study.privacy.epsilon is not None
    own = () if study.stage_release is None else (study.stage_release,)
    _, own_delta = additive_cost(own, "add/remove")
    # At exactly what the accountant will find left of delta, so that no rounding makes the plan too dear.
    epsilon, delta = study.privacy.epsilon, study.delta - own_delta
    if not training.sends_models:
        budget_shares = [task.share for task in tasks_of(study, training)]
        plan = calibrate_shares(epsilon, delta, expected_releases(study, training), budget_shares)
        return _derive(study, DpPlan(plan.releases, study.epsilon, study.delta, study.stage_release))
    plan = calibrate_local(
        epsilon,
        delta,
        sample_rate=training.sample_rate,
        steps=training.local_steps,
        rounds=training.rounds,
        life_table_share=LIFE_TABLE_SHARE * (1 - share_apart(study)) if training.life_table else 0.0,
        rows=study.sensitivity_rows,
        clip_l2=training.clip_l2,
        beside=[
            (release, task.share)
            for release, task in zip(
                expected_releases(study, training), tasks_of(study, training), strict=True
            )
            if task.part == "analysis"
        ],
    )
    return _derive(study, DpPlan(plan.releases, study.epsilon, study.delta, study.stage_release))


def _derive(study: Study, plan: DpPlan | None) -> Agreement:
    check_events(study.dictionary)
    training = resolve_training(study)
    columns = study.dictionary.columns()
    parameters = Layout(study.intervals, columns, training.hidden).dim
    payload = max(task.length for task in tasks_of(study, training))
    fraction_bits, clip = fixed_point(study, training)
    made = Agreement(
        study=study,
        training=training,
        plan=plan,
        n=len(study.hospitals),
        colluding=study.colluding,
        threshold=study.threshold,
        modulus_bits=MODULUS_BITS,
        dim=payload + WEIGHT_COORDINATES + (REMOVED_COORDINATES if study.spare_layers else 0),
        parameters=parameters,
        fraction_bits=fraction_bits,
        coordinate_clip=clip,
        columns=columns,
        times_days=tuple(time_grid(study.horizon_days, study.intervals).tolist()),
        neighborhood=study.neighborhood,
    )
    return replace(made, data=canonical(made.to_json()))


def fixed_point(study: Study, training: Training) -> tuple[int, float]:
    """Fraction bits and clip of one coordinate, from public numbers.

    The largest coordinate is a count of patients or a parameter; the factor four leaves room for the noise of a
    life table. n clips times 2**fraction_bits stay below half the ring, so the sum never wraps.
    """
    largest = max(*study.n_public.values(), 4 * int(training.parameter_clip), 1024)
    clip_bits = (4 * largest - 1).bit_length()
    hospitals_bits = (len(study.hospitals) - 1).bit_length()
    return min(MAXIMUM_FRACTION_BITS, MODULUS_BITS - 2 - clip_bits - hospitals_bits), float(1 << clip_bits)


def from_bytes(data: bytes, accepted: Study | None = None) -> Agreement:
    """The agreement that a coordinator sent, checked in full; what is cheap to check first.

    Args:
        data: canonical JSON.
        accepted: the only study that it may be about; None for any.

    Raises:
        AgreementError: not canonical, of another study than the accepted one, or something differs from what the study implies, or the noise is too small.
        StudyError: the study inside is wrong, not built here, or refused.
    """
    study, plan = _parse(data)
    if accepted is not None and study != accepted:
        raise AgreementError(
            "study", "differs from the study file that this hospital accepted; compare the two files"
        )
    if (plan is None) != (study.epsilon is None):
        raise AgreementError("plan", "mode 'none' has no plan, every other mode has one")
    expected = _derive(study, plan)
    if expected.data != data:
        part = _first_difference(parse_canonical(data), expected.to_json())
        raise AgreementError(part, "differs from what the study file implies by the public rules")
    if plan is not None:
        _check_plan(study, expected.training, plan)
    return expected


def _parse(data: bytes) -> tuple[Study, DpPlan | None]:
    problem = ""
    try:
        body = parse_canonical(data, MAX_AGREEMENT_BYTES)
        if isinstance(body, dict) and isinstance(body.get("study"), dict) and "plan" in body:
            study = study_from_json(body["study"], "study agreement")
            if body["plan"] is None:
                return study, None
            if isinstance(body["plan"], dict):
                return study, DpPlan.from_json(body["plan"])
        problem = "holds no study and plan"
    except (NotCanonicalError, PlanError, ValidationError) as error:
        problem = str(error)
    raise AgreementError("bytes", problem)


def _first_difference(given: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    """Name of the first part, as "secagg.threshold", in which the two differ."""
    for key in sorted({*given, *expected}):
        ours, theirs = expected.get(key), given.get(key)
        if ours != theirs:
            if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
                return f"{key}.{_first_difference(theirs, ours)}"
            return key
    return "bytes"


def _check_plan(study: Study, training: Training, plan: DpPlan) -> None:
    if (plan.epsilon, plan.delta) != (study.epsilon, study.delta):
        raise AgreementError("plan", "its epsilon and delta are not those of the study")
    expected = [_quiet(release) for release in expected_releases(study, training)] if study.noised else []
    if [_quiet(release) for release in plan.releases] != expected:
        raise AgreementError("plan.releases", "are not the releases of the study's recipe and stage")
    if _quiet_stage(plan.stage) != study.stage_release:
        raise AgreementError("plan.stage", "is not what the study's stage costs")
    if not is_within_reach(plan):
        raise AgreementError("plan", f"its noise costs epsilon far beyond the {plan.epsilon:g} it promises")
    # Behind a stage without guarantee the noise is held to what the study says, which is then no promise.
    cost = spent(
        plan.charges if not isinstance(plan.stage, VoidRelease) else plan.releases, plan.delta
    ).number()
    if cost > plan.epsilon:
        raise AgreementError(
            "plan", f"its noise costs epsilon {cost:.4g} where the study allows {plan.epsilon:g}"
        )


def _quiet(release: Release) -> Release:
    return replace(release, noise_multiplier=1.0)


def _quiet_stage(stage: StageRelease | None) -> StageRelease | None:
    return stage.quiet if isinstance(stage, SynthesisRelease) else stage

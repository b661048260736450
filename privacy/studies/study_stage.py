"""What a study's `[stage]` means: its effect on the guarantee, its own entry in plan and ledger, and what is wrong with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privacy.guarantees.plan_error import PlanError
from privacy.guarantees.stage_effect import Adds, Effect, Replaces, Voids, effect_of
from privacy.guarantees.stage_release import LevelRelease, StageRelease, ThresholdRelease, VoidRelease
from privacy.link.canonical import canonical, sha256_hex
from privacy.noise.level_choice import MOST_LEVELS, level_count
from privacy.synthesis.charges import SUMS, SynthesisRelease

if TYPE_CHECKING:
    from privacy.studies.study import Study

OF_CELLS = ("generalize", "drop", "threshold", "level", "mondrian")
WITH_K = ("drop", "threshold", "level", "mondrian")
PAID = {
    "threshold": "epsilon and delta, which are added to those",
    "level": "epsilon, which is added to that",
    "synthetic_dp": "epsilon and delta: they are the whole study's, in place of those",
}
WITH_DELTA = ("threshold", "synthetic_dp")
SYNTHETIC = ("synthetic_dp", "synthetic_sdv")
# Another way to sum would be another release.
SYNTHESIS_VERSION = 1


def effect(study: Study) -> Effect:
    """What the stage does to the guarantee of what is behind it."""
    stage = study.stage
    return effect_of(stage.kind, stage.k, stage.epsilon, stage.delta)


def release(study: Study) -> StageRelease | None:
    """The stage's own entry in plan and ledger; None where it costs nothing of its own, or nothing is noised.

    That of a synthesizer has no noise yet: an agreement's is calibrated once, when it is made.

    Raises:
        PlanError: a stage that is paid for with a number out of range.
    """
    if study.mode == "none":
        return None
    match effect(study):
        case Adds(epsilon, delta):
            k, cells = study.stage.k or 1, _cells(study)
            if study.stage.kind == "level":
                return LevelRelease(epsilon, k, cells)
            return ThresholdRelease(epsilon, delta, k, cells)
        case Replaces(epsilon, delta):
            return SynthesisRelease(epsilon, delta, synthesis_settings(study), (1.0,) * len(SUMS))
        case Voids(reason):
            return VoidRelease(study.stage.kind, reason)
    return None


def problem(study: Study) -> str:
    """What is wrong with the section, one sentence; "" where nothing is."""
    kind = study.stage.kind
    if kind in WITH_K and study.stage.k is None:
        return f"[stage] kind = '{kind}' needs k, the smallest class that is kept"
    found = _problem_of_fields(study) or _problem_of_payment(study) or _problem_of_synthesis(study)
    if found:
        return found
    try:
        _ = release(study)
    except PlanError as error:
        return f"[stage] {error.problem}"
    return ""


def _problem_of_fields(study: Study) -> str:
    kind, quasi = study.stage.kind, study.dictionary.quasi_identifiers
    if kind in OF_CELLS and not quasi:
        return f"[stage] kind = '{kind}' needs a field with role 'quasi_identifier'"
    for field in quasi:
        if kind in OF_CELLS and kind != "mondrian" and field.is_number and not field.cuts:
            return (
                f"field '{field.name}' is a quasi-identifier: [stage] kind = '{kind}' needs its public cuts"
            )
        if kind != "level" and field.coarser:
            return f"field '{field.name}' has several levels of cuts: they are for [stage] kind = 'level'; keep one"
    if kind == "level" and level_count(quasi) == 1:
        return "[stage] kind = 'level' chooses among levels: give a quasi-identifier several, as in cuts = [[30, 40, 50], [40]]"
    if kind == "level" and level_count(quasi) > MOST_LEVELS:
        return f"[stage] kind = 'level' has {level_count(quasi)} combinations of levels to choose from; at most {MOST_LEVELS}"
    return ""


def _problem_of_payment(study: Study) -> str:
    stage = study.stage
    needed = PAID.get(stage.kind)
    if needed is None:
        unpaid = stage.epsilon is None and stage.delta is None
        return "" if unpaid else f"[stage] kind = '{stage.kind}' spends nothing: leave out epsilon and delta"
    if stage.epsilon is None or (stage.kind in WITH_DELTA and stage.delta is None):
        return f"[stage] kind = '{stage.kind}' needs {needed} of [privacy]"
    if stage.kind == "level" and stage.delta is not None:
        return "[stage] kind = 'level' spends epsilon alone: leave out delta"
    if stage.kind == "synthetic_dp" and study.mode != "local":
        return (
            "[stage] kind = 'synthetic_dp' makes what each hospital sends private by itself and needs no noise of others: "
            "it needs [privacy] mode = 'local'"
        )
    if study.mode == "none":
        return (
            f"[stage] kind = '{stage.kind}' is paid for: it needs [privacy] mode = 'local' or 'distributed'"
        )
    return ""


def _problem_of_synthesis(study: Study) -> str:
    """What cannot stand on synthetic patients.

    Raises:
        NotBuilt: a dictionary that no synthesizer here takes.
    """
    if study.stage.kind not in SYNTHETIC:
        return ""
    # Imported here: calibration loads the accountant, and most studies have no such stage.
    from privacy.synthesis.releases import check_synthesizable

    check_synthesizable(study.dictionary)
    if study.privacy.evaluation_share > 0:
        return (
            f"[privacy] evaluation_share: behind [stage] kind = '{study.stage.kind}' a model would be evaluated on synthetic patients, "
            "which says nothing of real ones; leave it out"
        )
    if study.model.trial is not None:
        return (
            f"[model] trial: its interval does not know what [stage] kind = '{study.stage.kind}' did to the patients; "
            "leave the stage out"
        )
    return ""


def synthesis_settings(study: Study) -> str:
    """SHA-256 of what decides a synthesizer's sums beside its noise."""
    keys = {"name", "type", "role", "unit", "minimum", "maximum", "log1p", "categories", "missing"}
    return sha256_hex(
        canonical(
            {
                "version": SYNTHESIS_VERSION,
                "fields": [field.model_dump(mode="json", include=keys) for field in study.fields],
                "horizon_days": study.horizon_days,
                "intervals": study.intervals,
            }
        )
    )


def _cells(study: Study) -> str:
    """SHA-256 of what says which patients share a cell."""
    keys = {"name", "type", "unit", "cuts", "coarser", "categories", "missing"}
    quasi = study.dictionary.quasi_identifiers
    return sha256_hex(canonical([field.model_dump(mode="json", include=keys) for field in quasi]))

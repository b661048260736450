"""What `[model] trial` of a study file must say: the arms, their public allocation, and nothing else to learn from."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from privacy.studies.study import Study

ARMS_OF_A_BOOL = ("0", "1")


def arms_of(study: Study) -> tuple[str, ...]:
    """The arms, the reference first; empty where `[model] trial` names no field with arms."""
    trial = study.model.trial
    field = next((f for f in study.fields if trial is not None and f.name == trial.arm), None)
    if field is None:
        return ()
    return ARMS_OF_A_BOOL if field.type == "bool" else field.categories


def check_trial(study: Study) -> str:
    """One sentence about what is wrong with `[model] trial`; "" where nothing is, or the study is none.

    The effect is read off a model that holds the arms and nothing else: every further column would cost noise and move the estimand.
    """
    trial = study.model.trial
    if trial is None:
        return ""
    arms = arms_of(study)
    if not arms:
        return f"[model] trial: arm = '{trial.arm}' must be a field of type 'category' or 'bool'"
    others = sorted(field.name for field in study.dictionary.covariates if field.name != trial.arm)
    if others:
        return f"[model] trial takes the arm alone, and '{others[0]}' is a feature too; leave the field out"
    field = study.dictionary.covariates[0] if study.dictionary.covariates else None
    if field is None or field.missing is not None:
        return f"[model] trial: '{trial.arm}' must have role 'feature' and no missing cells; who was randomized has an arm"
    if set(trial.allocation) != set(arms):
        return (
            f"[model] trial: allocation must have a part for each of {', '.join(arms)} and for nothing else"
        )
    return ""

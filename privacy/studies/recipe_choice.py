"""Which recipe and which Flower strategy a study takes where its file does not say: a public rule of what the file does say."""

from __future__ import annotations

from typing import TYPE_CHECKING

from privacy.studies.column_rules import local_newton_pays

if TYPE_CHECKING:
    from privacy.studies.study import Study


def recipe(study: Study) -> str:
    """As asked; otherwise by the public rule, from the mode, the family and the number of declared columns.

    Without noise, or on a private synthesizer's patients, exact gradients. Distributed takes Newton steps for a linear model (with a
    released Hessian or a public one, `privacy.studies.column_rules`) and Adam for a network. Local takes DP-SGD, and Newton steps for a
    linear model with enough events a column that states no setting of DP-SGD.
    """
    if not study.has_model:
        return "none"
    if study.model.recipe != "auto":
        return study.model.recipe
    if study.model.trial is not None:
        return "trial"
    if study.mode == "distributed":
        return "newton" if study.model.family == "piecewise_exponential" else "adam"
    if not study.noised:
        return "full_batch"
    return "newton" if local_newton_pays(study) else "dp_sgd"


def strategy(study: Study) -> str:
    """As asked; otherwise fedavg, or fedadam where nothing is noised; none without a model."""
    if not study.has_model:
        return "none"
    return study.model.strategy or ("fedavg" if study.noised else "fedadam")

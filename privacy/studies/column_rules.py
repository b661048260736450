"""Public rules about the columns of a study: how they are scaled inside the Newton score, and whether its Hessian is worth releasing.

Everything here follows from the study file alone: kinds of columns, declared sizes, epsilon and the consortium.
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import numpy as np

from privacy.patients.field import Field
from privacy.patients.field_values import Column
from privacy.recipes.tasks import B_SQUARED, HESSIAN_CLIP, HESSIAN_COLUMNS, HESSIAN_SHARE

if TYPE_CHECKING:
    from privacy.studies.study import Study

# Share of the declared patients expected to have the event where the study declares nothing.
EVENT_SHARE = 1 / 3
# The released Hessian's expected eigenvalue in units of the floor that its noise sets, from which it is worth its budget.
READABLE = 2.4
# Expected events a column from which Newton steps are the rule of mode local.
LOCAL_EVENTS = 20.0
# Sums of 2^40 units a patient fit a 64-bit ring with room for the noise up to here.
MAXIMUM_SUMMED_PATIENTS = 1 << 21
# The public curvature uses more of the bound on a patient's score.
FURTHER = 3.0


def mean_square(field: Field, column: Column) -> float:
    """Of a column, expected from its declaration: a number spread evenly over its bounds, a flag in half of the patients."""
    return {
        "scaled": 1 / 3,
        "flag": 1 / 2,
        "missing": 1 / 10,
        "level": 1 / max(len(field.categories), 2),
    }[column.kind]


def variance(field: Field, column: Column) -> float:
    """Of a column, expected from its declaration; bounds of numbers are generous, most patients lie in the middle half."""
    share = mean_square(field, column)
    return 1 / 12 if column.kind == "scaled" else share * (1 - share)


def column_scale(study: Study, *, further: bool = False) -> float:
    """Public factor that brings a typical patient's covariates near the bound B of the score.

    Columns lie within [-1, 1]; a number spread evenly over its declared bounds has mean square 1/3, a flag 1/2, one of m categories
    1/m. A score of patients far inside the bound would pay for room that nobody uses. Never below 1: rows beyond the bound are
    weighted, and shrinking all of them costs more than it saves (chosen on simulated patients).

    Args:
        further: for the public curvature, which gains from more patients at the bound.
    """
    expected = sum(mean_square(f, c) for f in study.dictionary.covariates for c in f.columns)
    factor, most = (FURTHER, 8.0) if further else (1.0, 4.0)
    return float(np.clip(np.round(factor * 2.0 / np.sqrt(expected), 3), 1.0, most))


def spread(study: Study, scale: float) -> tuple[float, ...]:
    """Expected variance of each scaled column, (d,)."""
    return tuple(
        float(np.round(scale**2 * variance(f, c), 6)) for f in study.dictionary.covariates for c in f.columns
    )


def expected_events(study: Study) -> float:
    """Events among the declared patients: the middle of the declared share, or a third."""
    declared = study.dictionary.event.expected
    return study.n_public_total * (sum(declared) / 2 if declared else EVENT_SHARE)


def local_newton_pays(study: Study) -> bool:
    """Whether recipe "auto" of mode local takes Newton steps rather than DP-SGD.

    Both were compared on sets outside the benchmark's table (tests/bench/README.md). A study that states one of DP-SGD's settings wants it.
    """
    model = study.model
    stated = (model.local_steps, model.sample_rate, model.clip_l2, model.learning_rate, model.strategy)
    linear = model.family == "piecewise_exponential" and all(value is None for value in stated)
    if study.n_public_total > MAXIMUM_SUMMED_PATIENTS:
        return False
    return linear and expected_events(study) >= LOCAL_EVENTS * study.dictionary.n_columns


def hessian_is_readable(study: Study) -> bool:
    """Whether a released Hessian's directions stand out of its noise, expected from public numbers.

    A typical direction has the eigenvalue D B^2 / d; the floor is s_H sqrt(d + 1), which does not depend on the number of patients.
    """
    if not study.noised or study.privacy.epsilon is None or study.delta is None:
        return True
    # Imported here: the library behind it takes a second, and most readers of a study do not account.
    from privacy.guarantees.composition import gdp_mu

    columns = study.dictionary.n_columns
    if columns > HESSIAN_COLUMNS:
        return False
    noise = (
        HESSIAN_CLIP
        * study.sensitivity_rows
        / (gdp_mu(study.privacy.epsilon, study.delta) * sqrt(HESSIAN_SHARE))
    )
    # Where nobody takes out spare noise: the rule was fixed before any did, and errs on the side of the simpler recipe.
    noise *= sqrt(len(study.hospitals) / study.noise_shares)
    return expected_events(study) * B_SQUARED / columns >= READABLE * noise * sqrt(columns + 1)

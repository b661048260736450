"""The coefficients of result.json: what the parameters of a linear model say in the units of the dictionary."""

from __future__ import annotations

from typing import Any

from privacy.patients.field_values import Column
from privacy.recipes.intervals import Estimate
from privacy.studies.agreement import Agreement
from privacy.studies.grid import FloatArray
from privacy.studies.study_stage import SYNTHETIC
from privacy.studies.trained_model import layout_of

OF_SYNTHETIC = "the fit is to synthetic patients, and nothing here knows how far they are from the real ones"
NO_INTERVAL = "this recipe averages models and does not know its own noise; recipe newton has intervals"


def known_limit(agreement: Agreement, estimate: Estimate | None) -> str:
    """What the recipe knows to be wrong with the coefficients and counts in no interval; "" for nothing."""
    if estimate is None or agreement.study.stage.kind in SYNTHETIC:
        return ""
    return estimate.limit


def has_own_estimate(agreement: Agreement) -> bool:
    """Whether the recipe has coefficients with errors that only the released sums give again; elsewhere the model says them."""
    return agreement.training.recipe in ("newton", "trial") and not agreement.training.hidden


def coefficient_rows(
    agreement: Agreement, theta: FloatArray, estimate: Estimate | None
) -> list[dict[str, Any]]:
    """Log hazard ratios, each with the scale that it is per; none for a network.

    Intervals stand where the recipe knows its noise; elsewhere they are null with the reason.

    Args:
        theta: the study's model, (dim,).
        estimate: coefficients with their errors, where the recipe has them.
    """
    if agreement.training.hidden:
        return []
    known = estimate or Estimate(layout_of(agreement).beta(theta), None, NO_INTERVAL)
    if agreement.study.stage.kind in SYNTHETIC:
        known = Estimate(known.log_hr, None, OF_SYNTHETIC)
    error, interval = known.standard_error, known.interval
    rows = []
    for j, column in enumerate(agreement.study.dictionary.design):
        scale = column.half_range
        row: dict[str, Any] = {
            "name": column.name,
            "scale": _scale(agreement, column),
            "log_hr": float(known.log_hr[j] / scale),
            "log_hr_scaled": float(known.log_hr[j]),
            "se": None if error is None else float(error[j] / scale),
            "ci95": None if interval is None else [float(bound / scale) for bound in interval[j]],
        }
        if error is None:
            row["reason"] = known.reason
        rows.append(row)
    return rows


def _scale(agreement: Agreement, column: Column) -> str:
    """What one step of `log_hr` is, in words."""
    field = next(field for field in agreement.study.fields if field.name == column.field)
    match column.kind:
        case "level":
            return f"against {field.name}={field.categories[0]}"
        case "flag":
            return "yes against no"
        case "missing":
            return "missing against present"
    unit = f" in {field.unit}" if field.unit else ""
    if column.log1p:
        return f"per 1 of log(1 + {field.name}), natural logarithm, {field.name}{unit}"
    return f"per 1 of {field.name}{unit}"

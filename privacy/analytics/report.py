"""The `analysis` section of result.json: every ask's answer from its released sum, post-processing from here on.

The coordinator writes it, and whoever holds the receipts computes it again (`privacy.assessment.claims_analysis`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from privacy.analytics import evaluation, tables
from privacy.analytics.asks import MOMENTS, RISK_TABLE, Ask
from privacy.analytics.log_rank import log_rank
from privacy.analytics.small_cells import LEFT_OUT, is_small, told
from privacy.analytics.survival import Cells, Curve, curve
from privacy.guarantees.stage_release import VoidRelease
from privacy.recipes.fit import Statistic
from privacy.recipes.recalibration import predictor_moments
from privacy.studies.agreement import Agreement
from privacy.studies.grid import FloatArray
from privacy.studies.study_stage import SYNTHETIC
from privacy.studies.trained_model import layout_of

NOISED = "noise of the stated standard deviation is in every number; intervals of counts, means and quantiles speak of the noise alone"
EXACT = (
    "no formal guarantee: nothing is noised, and the coordinator and the hospitals have seen the exact sums; counts below the minimum cell "
    "are left out of this page only"
)
APPARENT = "on the patients that the model was trained on, not on others"
OF_SYNTHETIC = (
    "of the hospitals' synthetic patients; intervals and tests do not know what the synthesizer did to them"
)
NOT_ANSWERED = "its round was aborted, so there is no answer; what was charged stays charged"


@dataclass(frozen=True, slots=True)
class _Printed:
    """What may be printed of an exact table: everything where noise covers it.

    Attributes:
        minimum: smallest count; 1 where there is noise.
    """

    minimum: int

    def count(self, value: float) -> float | None:
        return None if is_small(value, self.minimum) else value


def analysis_json(
    agreement: Agreement, released: Mapping[str, Statistic], theta: FloatArray | None
) -> dict[str, Any] | None:
    """The section; None for a study that asks nothing.

    Args:
        agreement: the study's.
        released: sum by the name of its task; an ask without one was aborted.
        theta: the trained model; None without one.
    """
    asks = agreement.study.asks
    if not asks:
        return None
    exact = agreement.plan is None
    synthetic = agreement.study.stage.kind in SYNTHETIC
    printed = _Printed(agreement.study.analysis.minimum_cell if exact else 1)
    found = [
        _answer(agreement, ask, released, theta, printed) for ask in asks if ask.kind != "predictor_moments"
    ]
    section: dict[str, Any] = {"note": EXACT if exact else NOISED, "results": found}
    if agreement.study.stage.kind != "none":
        section["stage"] = f"of the patients as the stage {agreement.study.stage.kind} leaves them"
    if synthetic and not exact:
        section["note"] = OF_SYNTHETIC
    if agreement.plan is not None and isinstance(agreement.plan.stage, VoidRelease):
        section["note"] = f"no formal guarantee: {agreement.plan.stage.reason}"
    if exact:
        section["minimum_cell"] = printed.minimum
    return section


def _answer(
    agreement: Agreement,
    ask: Ask,
    released: Mapping[str, Statistic],
    theta: FloatArray | None,
    printed: _Printed,
) -> dict[str, Any]:
    """One ask's answer, tagged with the release that paid for it."""
    head: dict[str, Any] = {
        "name": ask.name,
        "kind": ask.kind,
        "title": ask.title,
        "release": _paid_by(agreement, ask),
    }
    if ask.groups.where:
        head["where"] = ask.groups.condition
    answer = released.get(ask.name)
    if answer is None:
        return head | {"reason": NOT_ANSWERED}
    values, noise_sd = answer.values, answer.noise_sd
    if noise_sd == 0 and ask.counts_patients:
        # Without noise the sum is of whole patients; quantizing took some billionths.
        values = np.rint(values)
    head["noise_sd"] = noise_sd
    match ask.kind:
        case "survival":
            return head | _survival(agreement, ask, values, noise_sd, printed)
        case "risk_table":
            return head | _evaluated(agreement, values, noise_sd, released, theta)
        case "count":
            rows = tables.counts(ask, values, noise_sd)
        case "mean":
            rows = tables.means(ask, values, noise_sd)
        case "histogram":
            rows = tables.histograms(ask, values, noise_sd)
        case _:
            rows = tables.quantiles(ask, values, noise_sd)
    sizes = values.reshape(len(rows), -1).sum(axis=1)
    return head | {
        "groups": [
            {"group": label, **_large_enough(row, float(size), printed)}
            for label, row, size in zip(ask.groups.labels, rows, sizes, strict=True)
        ]
    }


def _large_enough(row: dict[str, Any], size: float, printed: _Printed) -> dict[str, Any]:
    """A group's row without its small counts; what was made of too few patients is left out with them."""
    if printed.minimum == 1:
        return row
    if "bins" in row:
        return {"bins": [{"bin": b["bin"], "count": printed.count(b["count"])} for b in row["bins"]]}
    count = row.get("count", size)
    if not is_small(count, printed.minimum):
        return row
    return {key: None for key in row if key != "reason"} | {"reason": LEFT_OUT}


def _survival(
    agreement: Agreement, ask: Ask, values: FloatArray, noise_sd: float, printed: _Printed
) -> dict[str, Any]:
    """Each group's curve, all groups together, and the comparison."""
    times = np.asarray(agreement.times_days)
    cells = Cells(values.reshape(len(ask.groups), -1), noise_sd, agreement.study.intervals)
    told_of = [
        {"group": label, **_curve(row, cells, times, printed)}
        for label, row in zip(ask.groups.labels, cells.values, strict=True)
    ]
    section: dict[str, Any] = {"groups": told_of}
    if len(told_of) > 1:
        together = cells.values.sum(axis=0)
        noise = Cells(cells.values, noise_sd * len(told_of) ** 0.5, cells.intervals)
        section["overall"] = _curve(together, noise, times, printed)
    if ask.log_rank:
        section["log_rank"] = _compared(cells, times, printed)
    return section


def _curve(values: FloatArray, cells: Cells, times_days: FloatArray, printed: _Printed) -> dict[str, Any]:
    patients = float((values[: 2 * cells.intervals]).sum())
    if is_small(patients, printed.minimum):
        return {"patients": None, "reason": LEFT_OUT}
    shown = curve(values, cells, times_days)
    told_curve = _curve_rows(shown, values, cells, printed)
    row: dict[str, Any] = {"patients": patients, **told_curve}
    if cells.noise_sd > 0:
        row["patients_noise_sd"] = float(cells.noise_sd * np.sqrt(2 * cells.intervals))
    if len(shown.times_days) < cells.intervals:
        row["ends_early"] = (
            "behind it the number at risk is not clear of its noise"
            if cells.noise_sd > 0
            else "nobody is at risk behind it"
        )
    if len(shown.times_days):
        row["restricted_mean"] = {
            "to_days": float(shown.times_days[-1]),
            "days": shown.restricted_mean,
            "se": shown.restricted_mean_se,
        }
    return row


def _curve_rows(shown: Curve, values: FloatArray, cells: Cells, printed: _Printed) -> dict[str, Any]:
    """The curve's columns; without noise points that stand on too few events, and numbers that move by too few, are null."""
    k = len(shown.times_days)
    censored = values[cells.intervals : cells.intervals + k]
    points = told(shown.events, printed.minimum)
    # The number at the start of an interval shows what left before it.
    moves = np.concatenate([[0.0], (shown.events + censored)[:-1]])[:k]
    numbers = told(moves, printed.minimum) & np.asarray(
        [not is_small(value, printed.minimum) for value in shown.at_risk], dtype=bool
    )

    def column(chosen: FloatArray, told_at: FloatArray) -> list[float | None]:
        return [float(v) if t and np.isfinite(v) else None for v, t in zip(chosen, told_at, strict=True)]

    return {
        "times_days": shown.times_days.tolist(),
        "at_risk": column(shown.at_risk, numbers),
        "survival": column(shown.survival, points),
        "ci95": [
            [float(low), float(high)] if t and np.isfinite(low) else None
            for (low, high), t in zip(shown.interval, points, strict=True)
        ],
        "cumulative_hazard": column(shown.hazard, points),
        "cumulative_hazard_se": column(shown.hazard_se, points),
    }


def _compared(cells: Cells, times_days: FloatArray, printed: _Printed) -> dict[str, Any]:
    test = log_rank(cells)
    if test is None:
        return {
            "p_value": None,
            "reason": "fewer than two groups have a number at risk that is clear of its noise",
        }
    small = any(is_small(value, printed.minimum) for value in test.observed if np.isfinite(value))

    def column(values: FloatArray) -> list[float | None]:
        return [None if small or not np.isfinite(value) else float(value) for value in values]

    return {
        "statistic": test.statistic,
        "degrees_of_freedom": test.freedom,
        "p_value": test.p_value,
        "observed": column(test.observed),
        "expected": column(test.expected),
        "until_days": float(times_days[test.until_interval]),
        "noise_counted": cells.noise_sd > 0,
    }


def _evaluated(
    agreement: Agreement,
    table: FloatArray,
    noise_sd: float,
    released: Mapping[str, Statistic],
    theta: FloatArray | None,
) -> dict[str, Any]:
    """The trained model on the study's own patients."""
    if theta is None:
        return {"reason": "there is no model to evaluate"}
    moments = released.get(MOMENTS)
    mean, sd = (0.0, 1.0) if moments is None else predictor_moments(moments.values)
    metrics = agreement.study.analysis.metrics
    told_of = evaluation.evaluation(
        table,
        noise_sd,
        layout_of(agreement).alpha(theta),
        mean,
        sd,
        np.asarray(agreement.times_days),
        metrics,
    )
    return {
        "patients": APPARENT,
        "release_of_bins": MOMENTS if agreement.plan is not None else None,
        **told_of,
    }


def _paid_by(agreement: Agreement, ask: Ask) -> str | None:
    """The release of the plan that an answer is made of; None where nothing is paid."""
    if agreement.plan is None:
        return None
    return (
        ask.name
        if agreement.noising is not None or agreement.plan.stage is None
        else agreement.plan.stage.name
    )


def release_names(section: Mapping[str, Any]) -> set[str]:
    """The releases that the section's numbers name as paid; RISK_TABLE's bins were paid by MOMENTS."""
    named = {result["release"] for result in section["results"] if result["release"] is not None}
    return named | ({MOMENTS} if RISK_TABLE in named else set())

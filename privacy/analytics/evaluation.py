r"""How well a model orders and predicts, from one noised table N[risk bin, interval, event] in which a patient is one cell.

Bins lie at normal quantiles of the linear predictor, whose mean and spread were released before; quantiles of the patients would be
another release. Every figure is a smooth function f of the cells n, so two terms give its variance:

- sampling, by the infinitesimal jackknife: a patient in cell c moves f by df/dn_c, so sum_c n_c (df/dn_c)^2 once f does not
  depend on the number of patients (Efron 1982, chapter 6; the C-index and the ratio below are such);
- noise of standard deviation s on each cell: s^2 sum_c (df/dn_c)^2.

C-index: Harrell's on the grid, as lifelines counts: an event against everybody who leaves in a later interval or is censored in the
same one, half for the same risk bin. Numerator and denominator are sums of products of different cells, so noise leaves both
unbiased. Ties within a bin cost about .003 at ten bins. Brier: Graf et al. 1999 with the grid's own Kaplan-Meier estimate of
censoring; a bin's predictions are those of a normal predictor within the bin. A second release of clipped squared errors would cost
budget to say the same: on simulated patients the table's figure is within .005 of the one computed patient by patient. The last interval is left
out, because those censored at the horizon are in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import ndtri

from privacy.analytics.asks import RISK_BINS
from privacy.analytics.survival import Z95, Cells, curve
from privacy.recipes.recalibration import LARGEST_PREDICTOR, SMALLEST_SD
from privacy.studies.grid import FloatArray

# Points that stand for the patients of a bin.
_PARTS = 25
CALIBRATION_GROUPS = 5
# Where noise leaves fewer comparable pairs than so many standard deviations, there is no C-index.
CLEAR_PAIRS = 4.0


def edges(mean: float, sd: float) -> FloatArray:
    """Inner edges of the risk bins, (RISK_BINS - 1,)."""
    return np.asarray(mean + max(sd, SMALLEST_SD) * ndtri(np.arange(1, RISK_BINS) / RISK_BINS))


def bins_asked(theta: FloatArray) -> FloatArray:
    """Inner edges that an order names: mean and spread stand where the log hazards do, which the table does not need."""
    return edges(float(theta[0]), float(theta[1]))


def evaluation(
    table: FloatArray,
    noise_sd: float,
    log_hazards: FloatArray,
    mean: float,
    sd: float,
    times_days: FloatArray,
    metrics: tuple[str, ...],
) -> dict[str, Any]:
    """The metrics that the study asked for.

    Args:
        table: (2 * RISK_BINS * K,) events, then censorings, each bin by bin.
        noise_sd: of each cell.
        log_hazards: (K,) the model's log cumulative hazards at predictor 0.
        mean, sd: of the predictor, as the table's order named them.
        times_days: (K + 1,) boundaries.
        metrics: any of "c_index", "ibs", "calibration".
    """
    cells = table.reshape(2, RISK_BINS, len(times_days) - 1)
    told: dict[str, Any] = {}
    if "c_index" in metrics:
        told["c_index"] = c_index(cells, noise_sd)
    if "ibs" in metrics:
        told["brier"] = brier(cells, noise_sd, predicted(log_hazards, mean, sd), times_days)
    if "calibration" in metrics:
        told["calibration"] = calibration(cells, noise_sd, log_hazards, mean, sd, times_days)
    return told


def c_index(cells: FloatArray, noise_sd: float) -> dict[str, Any]:
    """Harrell's C with its standard error; cells (2, bins, K)."""
    events, censored = cells
    order = np.tril(np.ones((RISK_BINS, RISK_BINS)), -1) + 0.5 * np.eye(RISK_BINS)
    # Others who outlive an event of interval k, by bin.
    later = np.cumsum((events + censored)[:, ::-1], axis=1)[:, ::-1] - events
    everyone = np.ones((RISK_BINS, RISK_BINS))
    right, pairs = (float(np.sum(events * (weight @ later))) for weight in (order, everyone))
    gradient_right, gradient_pairs = (_pair_gradient(events, later, w) for w in (order, everyone))
    if pairs <= max(CLEAR_PAIRS * noise_sd * float(np.sqrt((gradient_pairs**2).sum())), 0.5):
        return {"value": None, "reason": "the noise is as large as the number of comparable pairs"}
    value = right / pairs
    gradient = (gradient_right - value * gradient_pairs) / pairs
    sampling = max(float((cells * gradient**2).sum()), 0.0)
    return _with_error(value, sampling, noise_sd**2 * float((gradient**2).sum()), (0.0, 1.0))


def _pair_gradient(events: FloatArray, later: FloatArray, order: FloatArray) -> FloatArray:
    """Derivative of sum_k e_k' order later_k by each cell, (2, bins, K)."""
    as_event = order @ later
    # A patient outlives the events of earlier intervals, a censored one those of its own too.
    beaten = order.T @ events
    until = np.cumsum(beaten, axis=1)
    return np.stack([as_event + until - beaten, until])


def predicted(log_hazards: FloatArray, mean: float, sd: float) -> tuple[FloatArray, FloatArray]:
    """Survival of the points that stand for each bin at the end of each interval, and their chance to have an event in it.

    Returns:
        survival (bins, parts, K) and leaves (bins, parts, K), which add up to 1 - survival.
    """
    parts = (np.arange(RISK_BINS * _PARTS) + 0.5) / (RISK_BINS * _PARTS)
    predictor = np.clip(mean + max(sd, SMALLEST_SD) * ndtri(parts), -LARGEST_PREDICTOR, LARGEST_PREDICTOR)
    cumulative = np.cumsum(np.exp(log_hazards))[None, None] * np.exp(predictor).reshape(RISK_BINS, _PARTS, 1)
    survival = np.exp(-cumulative)
    before = np.concatenate([np.ones((RISK_BINS, _PARTS, 1)), survival[:, :, :-1]], axis=2)
    return survival, before - survival


def brier(
    cells: FloatArray, noise_sd: float, model: tuple[FloatArray, FloatArray], times_days: FloatArray
) -> dict[str, Any]:
    """Brier score at the ends of the intervals and its integral, with the same for the marginal Kaplan-Meier curve."""
    shown = times_days[1:-1]
    together = Cells(cells.sum(axis=1).reshape(1, -1), noise_sd * RISK_BINS**0.5, len(times_days) - 1)
    flat = curve(together.values[0], together, times_days).survival
    if len(flat) < len(shown) + 1:
        return {"ibs": None, "reason": "the noise is as large as who is at risk late"}
    flat = flat.reshape(1, 1, -1)
    own = _brier_curve(cells[None], *model)[0]
    without = _brier_curve(cells[None], flat, np.full_like(flat, 1.0))[0]

    def integral(tables: FloatArray) -> FloatArray:
        return np.asarray(np.trapezoid(_brier_curve(tables, *model), shown) / (shown[-1] - shown[0]))

    gradient = _numeric_gradient(integral, cells)
    sampling = max(float((cells * gradient**2).sum()), 0.0)
    noise = noise_sd**2 * float((gradient**2).sum())
    told = _with_error(float(integral(cells[None])[0]), sampling, noise, (0.0, 1.0))
    return {
        "times_days": shown.tolist(),
        "score": own.tolist(),
        "ibs": told["value"],
        **{key: told[key] for key in ("se", "noise_sd", "ci95")},
        "ibs_kaplan_meier": float(np.trapezoid(without, shown) / (shown[-1] - shown[0])),
    }


def _numeric_gradient(of: Callable[[FloatArray], FloatArray], cells: FloatArray) -> FloatArray:
    """Derivative by each cell, by one patient more and one less; `of` takes (tables, 2, bins, K) and gives (tables,)."""
    steps = np.eye(cells.size).reshape(-1, *cells.shape)
    return np.asarray((of(cells + steps) - of(cells - steps)) / 2).reshape(cells.shape)


def _brier_curve(tables: FloatArray, survival: FloatArray, leaves: FloatArray) -> FloatArray:
    """Weighted squared errors at the ends of all intervals but the last, (tables, K - 1).

    Within a bin, who has an event in interval j is spread over the points as the model says (weights `leaves`), who is still there as
    `survival` says.

    Args:
        tables: (tables, 2, bins, K).
        survival, leaves: (bins, parts, K) of `predicted`, or with one bin and one part.
    """
    events, censored = tables[:, 0], tables[:, 1]
    intervals = tables.shape[-1]
    all_events, all_censored = events.sum(axis=1), censored.sum(axis=1)
    leaving = all_events + all_censored
    at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1]
    staying = np.clip(1.0 - all_censored / np.maximum(at_risk - all_events, 1.0), 1e-3, 1.0)
    uncensored = np.cumprod(staying, axis=1)
    just_before = np.hstack([np.ones((len(tables), 1)), uncensored[:, :-1]])
    remaining = np.cumsum((events + censored)[:, :, ::-1], axis=2)[:, :, ::-1]
    patients = np.maximum(leaving.sum(axis=1), 1.0)
    scores = []
    for k in range(intervals - 1):
        squares = survival[:, :, k] ** 2
        weight = np.maximum(leaves[:, :, : k + 1], 1e-12)
        gone = (squares[:, :, None] * weight).sum(axis=1) / weight.sum(axis=1)
        alive = np.maximum(survival[:, :, k], 1e-12)
        there = ((1.0 - survival[:, :, k]) ** 2 * alive).sum(axis=1) / alive.sum(axis=1)
        error = (events[:, :, : k + 1] / just_before[:, None, : k + 1] * gone).sum(axis=(1, 2))
        error += (remaining[:, :, k + 1] * there).sum(axis=1) / uncensored[:, k]
        scores.append(error / patients)
    return np.stack(scores, axis=1)


def calibration(
    cells: FloatArray,
    noise_sd: float,
    log_hazards: FloatArray,
    mean: float,
    sd: float,
    times_days: FloatArray,
) -> dict[str, Any]:
    """Predicted against observed risk of an event by the horizon, in groups of bins, and events observed over expected."""
    survival, leaves = predicted(log_hazards, mean, sd)
    each = RISK_BINS // CALIBRATION_GROUPS
    rows = []
    for group in range(CALIBRATION_GROUPS):
        chosen = slice(each * group, each * (group + 1))
        own = Cells(cells[:, chosen].sum(axis=1).reshape(1, -1), noise_sd * each**0.5, len(times_days) - 1)
        seen = curve(own.values[0], own, times_days)
        row: dict[str, Any] = {
            "group": group + 1,
            "predicted_risk": float(1.0 - survival[chosen, :, -1].mean()),
            "observed_risk": None,
            "observed_ci95": None,
        }
        if len(seen.survival) == own.intervals:
            low, high = seen.interval[-1]
            row["observed_risk"] = float(1.0 - seen.survival[-1])
            row["observed_ci95"] = None if np.isnan(low) else [float(1.0 - high), float(1.0 - low)]
        else:
            row["reason"] = "the number at risk drowns in noise before the horizon"
        rows.append(row)
    return {
        "groups": rows,
        "observed_over_expected": _ratio(cells, noise_sd, log_hazards, survival, leaves, mean, sd),
    }


def _ratio(
    cells: FloatArray,
    noise_sd: float,
    log_hazards: FloatArray,
    survival: FloatArray,
    leaves: FloatArray,
    mean: float,
    sd: float,
) -> dict[str, Any]:
    """Events over those that the model expects of the time at risk; leaving within an interval counts as half of it."""
    before = survival + leaves
    parts = (np.arange(RISK_BINS * _PARTS) + 0.5) / (RISK_BINS * _PARTS)
    risk = np.exp(np.clip(mean + max(sd, SMALLEST_SD) * ndtri(parts), -LARGEST_PREDICTOR, LARGEST_PREDICTOR))
    among_present = (before * risk.reshape(RISK_BINS, _PARTS, 1)).sum(axis=1) / before.sum(axis=1)
    rate = np.exp(log_hazards) * among_present
    # A patient who leaves in interval k spends the rates of the intervals before and half of its own.
    spends = np.cumsum(rate, axis=1) - 0.5 * rate
    expects = np.stack([spends, spends])
    expected, observed = float((cells * expects).sum()), float(cells[0].sum())
    if expected <= max(CLEAR_PAIRS * noise_sd * float(np.sqrt((expects**2).sum())), 1e-9):
        return {"value": None, "reason": "the noise is as large as the expected number of events"}
    ratio = observed / expected
    gradient = -ratio * expects / expected
    gradient[0] += 1.0 / expected
    sampling = max(float((cells * gradient**2).sum()), 0.0)
    return _with_error(ratio, sampling, noise_sd**2 * float((gradient**2).sum()), (0.0, np.inf))


def _with_error(value: float, sampling: float, noise: float, within: tuple[float, float]) -> dict[str, Any]:
    error = float(np.sqrt(sampling + noise))
    interval = [max(value - Z95 * error, within[0]), min(value + Z95 * error, within[1])]
    return {
        "value": float(np.clip(value, *within)),
        "se": error,
        "noise_sd": float(np.sqrt(noise)),
        "ci95": interval,
    }

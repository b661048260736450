"""What a noised sum by group says: counts, means, histograms and quantiles, each with the noise that is in it.

Everything here is post-processing. Noise is symmetric and unbiased, so counts stay as they are, negative ones included: who adds them up
or compares groups needs them so. Intervals speak of the noise alone, because the patients are the study's own and no sample.
"""

from __future__ import annotations

from math import sqrt
from typing import Any

import numpy as np

from privacy.analytics.asks import MEAN_WEIGHT, Ask
from privacy.analytics.groups import levels
from privacy.analytics.survival import Z95
from privacy.studies.grid import FloatArray

# A mean is told where the group's size exceeds this many standard deviations of its noise.
CLEAR_GROUP = 4.0
TOO_FEW = "the noise is as large as the group"


def counts(ask: Ask, values: FloatArray, noise_sd: float) -> list[dict[str, Any]]:
    """Patients in each group."""
    return [_estimate("count", float(value), noise_sd) for value in values.reshape(len(ask.groups))]


def means(ask: Ask, values: FloatArray, noise_sd: float) -> list[dict[str, Any]]:
    """Mean of the field in each group over patients whose value is recorded, in the field's unit.

    With S = sum z, A = a sum 1 the mean of z is a S / A, whose noise has variance (a s / A)^2 (1 + (S / A)^2) to first order.
    """
    assert ask.field is not None
    low, high = ask.field.bounds
    center, half = (low + high) / 2, (high - low) / 2
    rows: list[dict[str, Any]] = []
    for weighted, total in values.reshape(len(ask.groups), 2):
        count = float(weighted) / MEAN_WEIGHT
        row: dict[str, Any] = _estimate("count", count, noise_sd / MEAN_WEIGHT)
        if weighted <= max(CLEAR_GROUP * noise_sd, 0.5 * MEAN_WEIGHT):
            rows.append(row | {"mean": None, "reason": TOO_FEW})
            continue
        ratio = float(np.clip(total / count, -1.0, 1.0))
        spread = half * noise_sd / count * sqrt(1.0 + (ratio / MEAN_WEIGHT) ** 2)
        rows.append(row | _estimate("mean", center + half * ratio, spread))
    return rows


def histograms(ask: Ask, values: FloatArray, noise_sd: float) -> list[dict[str, Any]]:
    """Patients in each bin of the field, by group."""
    assert ask.field is not None
    labels = bin_labels(ask)
    return [
        {
            "bins": [
                {"bin": label, **_estimate("count", float(value), noise_sd)}
                for label, value in zip(labels, row, strict=True)
            ]
        }
        for row in values.reshape(len(ask.groups), len(labels))
    ]


def bin_labels(ask: Ask) -> list[str]:
    """Names of the bins of a histogram."""
    assert ask.field is not None
    if not ask.edges:
        return list(levels(ask.field))
    return [f"{a:g} to {b:g}" for a, b in zip(ask.edges, ask.edges[1:], strict=False)]


def quantiles(ask: Ask, values: FloatArray, noise_sd: float) -> list[dict[str, Any]]:
    """Quantiles of the field in each group, from a histogram of public bins, linear within a bin.

    The interval holds every value at which the noised cumulative count is within 1.96 standard deviations of the wanted one.
    """
    bins = len(ask.edges) - 1
    rows: list[dict[str, Any]] = []
    for row in values.reshape(len(ask.groups), bins):
        total = float(row.sum())
        if total <= max(CLEAR_GROUP * noise_sd * sqrt(bins), 0.5):
            rows.append({"quantiles": None, "reason": TOO_FEW})
            continue
        rows.append(
            {"quantiles": [_quantile(p, row, np.asarray(ask.edges), noise_sd) for p in ask.quantiles]}
        )
    return rows


def _quantile(p: float, row: FloatArray, edges: FloatArray, noise_sd: float) -> dict[str, Any]:
    until = np.concatenate([[0.0], np.cumsum(row)])
    bins = len(row)
    # F(x) - p n is (1 - p) times the bins below minus p times those above.
    below = np.arange(bins + 1)
    sd = noise_sd * np.sqrt((1 - p) ** 2 * below + p**2 * (bins - below))
    rising = np.maximum.accumulate(until)
    rising = (rising + np.minimum.accumulate(until[::-1])[::-1]) / 2
    wanted = p * until[-1]
    value = _crossing(rising - wanted, edges)
    if noise_sd == 0:
        return {"p": p, "value": value, "noise_interval95": None}
    first = _crossing(np.maximum.accumulate(until - wanted + Z95 * sd), edges)
    last = _crossing(np.minimum.accumulate((until - wanted - Z95 * sd)[::-1])[::-1], edges)
    return {"p": p, "value": value, "noise_interval95": [min(first, value), max(last, value)]}


def _crossing(rising: FloatArray, edges: FloatArray) -> float:
    """Where a rising sequence at the edges passes 0, linear in between; the end where it does not."""
    if rising[0] >= 0:
        return float(edges[0])
    above = np.flatnonzero(rising >= 0)
    if not len(above):
        return float(edges[-1])
    k = int(above[0])
    part = -rising[k - 1] / (rising[k] - rising[k - 1])
    return float(edges[k - 1] + part * (edges[k] - edges[k - 1]))


def _estimate(name: str, value: float, noise_sd: float) -> dict[str, Any]:
    """A value with its noise; without noise the value alone."""
    if noise_sd == 0:
        return {name: value}
    reach = Z95 * noise_sd
    return {
        name: value,
        f"{name}_noise_sd": noise_sd,
        f"{name}_noise_interval95": [value - reach, value + reach],
    }

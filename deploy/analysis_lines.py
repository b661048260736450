"""The `analysis` section of a result as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def analysis_lines(body: Mapping[str, Any]) -> Iterator[str]:
    """What a statistician wants to see at once; everything else is in result.json."""
    section = body.get("analysis")
    if section is None:
        return
    yield f"analysis: {section['note']}"
    for answer in section["results"]:
        yield f"  {answer['title']}{_where(answer)}"
        if "reason" in answer:
            yield f"    no answer: {answer['reason']}"
        if answer["kind"] == "risk_table":
            yield from _evaluation(answer)
        for group in answer.get("groups", ()):
            yield from _group(answer["kind"], group)
        if "log_rank" in answer:
            yield f"    {_log_rank(answer['log_rank'])}"
    for row in body.get("analysis_truth", ()):
        expected = "" if row["noise_sd"] is None else f", expected noise sd {row['noise_sd']:.4g}"
        yield (
            f"  simulation only: {row['what']} released {row['released']:.4g}, true {row['true']:.4g}, "
            f"difference {row['difference']:+.4g}{expected}"
        )


def _where(answer: Mapping[str, Any]) -> str:
    told = ", ".join(f"{field} = {value}" for field, value in answer.get("where", {}).items())
    return f" where {told}" if told else ""


def _group(kind: str, group: Mapping[str, Any]) -> Iterator[str]:
    named = ", ".join(f"{field} {level}" for field, level in group["group"].items()) or "all"
    if "reason" in group:
        yield f"    {named}: not told, {group['reason']}"
        return
    match kind:
        case "count" | "mean":
            sd = group.get(f"{kind}_noise_sd")
            yield f"    {named}: {group[kind]:.4g}" + ("" if sd is None else f" (noise sd {sd:.3g})")
        case "histogram":
            told = ("few" if b["count"] is None else f"{b['count']:.0f}" for b in group["bins"])
            yield f"    {named}: {' '.join(told)}"
        case "quantile":
            yield f"    {named}: " + ", ".join(f"{q['p']:g}: {q['value']:.4g}" for q in group["quantiles"])
        case "survival":
            yield from _survival(named, group)


def _survival(named: str, group: Mapping[str, Any]) -> Iterator[str]:
    told = [
        (time, value, band)
        for time, value, band in zip(group["times_days"], group["survival"], group["ci95"], strict=True)
        if value is not None
    ]
    if not told:
        yield f"    {named}: no point of the curve can be told"
        return
    time, value, band = told[-1]
    interval = "" if band is None else f" (95 % interval {band[0]:.3f} to {band[1]:.3f})"
    mean = group.get("restricted_mean")
    area = (
        "" if mean is None else f"; {mean['days']:.0f} days alive on average until then (se {mean['se']:.0f})"
    )
    yield f"    {named}: {group['patients']:.0f} patients, survival at {time:g} days {value:.3f}{interval}{area}"


def _log_rank(test: Mapping[str, Any]) -> str:
    if test["p_value"] is None:
        return f"log-rank: none, {test['reason']}"
    counted = ", the noise counted" if test["noise_counted"] else ""
    return f"log-rank: chi-square {test['statistic']:.3f} on {test['degrees_of_freedom']}, p = {test['p_value']:.3g}{counted}"


def _evaluation(answer: Mapping[str, Any]) -> Iterator[str]:
    if "patients" in answer:
        yield f"    {answer['patients']}"
    for name in ("c_index", "calibration"):
        figure = answer.get(name, {})
        figure = figure.get("observed_over_expected", figure) if name == "calibration" else figure
        if not figure:
            continue
        told = "C-index" if name == "c_index" else "events observed over expected"
        if figure["value"] is None:
            yield f"    {told}: none, {figure['reason']}"
        else:
            low, high = figure["ci95"]
            yield f"    {told} {figure['value']:.3f} (95 % interval {low:.3f} to {high:.3f})"
    brier = answer.get("brier", {})
    if brier.get("ibs") is not None:
        low, high = brier["ci95"]
        yield (
            f"    integrated Brier score {brier['ibs']:.3f} (95 % interval {low:.3f} to {high:.3f}), "
            f"Kaplan-Meier alone {brier['ibs_kaplan_meier']:.3f}"
        )

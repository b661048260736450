"""A simulation's analysis beside the same without noise: what the noise cost, next to what it was expected to cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.results import write_result
from deploy.scoring import LABEL
from privacy.analytics.report import analysis_json
from privacy.noise.mechanisms import decode_release
from privacy.recipes.fit import Statistic
from privacy.studies.agreement import Agreement
from privacy.studies.exchange import statistic_release


def add_analysis_truth(
    out: Path, result: Mapping[str, Any], agreement: Agreement, tables: Mapping[str, Path]
) -> dict[str, Any]:
    """The result with `analysis_truth`, written again; as it was where nothing was asked or nothing noised.

    Args:
        out: folder of the run.
        result: the coordinator's result.
        agreement: the study's.
        tables: each hospital's table.
    """
    if agreement.plan is None or "analysis" not in result:
        return dict(result)
    exact = analysis_json(agreement, _exact_sums(agreement, tables), None) or {"results": ()}
    true = {
        (figure["name"], figure["what"]): figure["released"]
        for answer in exact["results"]
        for figure in _figures(answer)
    }
    rows = [
        {**figure, "true": truth, "difference": figure["released"] - truth}
        for answer in result["analysis"]["results"]
        for figure in _figures(answer)
        if (truth := true.get((figure["name"], figure["what"]))) is not None
        and figure["released"] is not None
    ]
    compared = {**result, "simulation_only": LABEL, "analysis_truth": rows}
    write_result(out, compared)
    return compared


def _exact_sums(agreement: Agreement, tables: Mapping[str, Path]) -> dict[str, Statistic]:
    """What the hospitals' sums would be without noise, from the same rows; the model's evaluation is left out."""
    from hospital_node.analytics.rows import Asked, asked_cells, rows_of_ask
    from hospital_node.cohort import build_cohort
    from hospital_node.stage import apply_stage
    from hospital_node.statistics.sums import summed
    from hospital_node.table import read_table

    study = agreement.study
    asks = {task.name: task for task in agreement.tasks if task.part == "analysis" and not task.carries_model}
    totals = {name: np.zeros(task.length) for name, task in asks.items()}
    for table in tables.values():
        staged, _ = apply_stage(read_table(table, study.dictionary), study)
        cohort = build_cohort(staged, study.dictionary, study.horizon_days)
        patients = Asked.of(asked_cells(staged, study.asks), cohort, np.asarray(agreement.times_days))
        for ask in study.asks:
            if ask.name in asks:
                rows = rows_of_ask(ask, patients, np.zeros(0), lambda chosen: np.zeros(0))
                release = statistic_release(agreement, asks[ask.name])
                totals[ask.name] += decode_release(summed(len(patients), rows, release, None), release)
    return {name: Statistic(total, 0.0) for name, total in totals.items()}


def _figures(answer: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The scalar figures of an answer, each with the standard deviation of its noise where that is known."""

    def row(group: str, figure: str, value: float | None, noise_sd: float | None) -> dict[str, Any]:
        told = f"{answer['title']}, {group}" if group else str(answer["title"])
        return {
            "name": answer["name"],
            "what": f"{told}: {figure}",
            "released": value,
            "noise_sd": noise_sd,
        }

    for group in answer.get("groups", ()):
        named = ", ".join(f"{field} {level}" for field, level in group["group"].items())
        match answer["kind"]:
            case "count" | "mean" as kind:
                yield row(named, kind, group.get(kind), group.get(f"{kind}_noise_sd"))
            case "histogram":
                for bin_ in group["bins"]:
                    yield row(named, str(bin_["bin"]), bin_["count"], bin_.get("count_noise_sd"))
            case "quantile":
                for quantile in group.get("quantiles") or ():
                    yield row(named, f"quantile {quantile['p']:g}", quantile["value"], None)
            case "survival" if group.get("survival"):
                end = group["times_days"][-1]
                yield row(named, f"survival at {end:g} days", group["survival"][-1], None)

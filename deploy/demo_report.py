"""The end of the demo: scores, the check of the exact sum, the table that a visitor reads."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from coordinator import keys as coordinator_keys
from coordinator.pia.build import BuiltPia, build
from coordinator.progress import Progress
from deploy.demo_consortium import DemoRun
from deploy.demo_run import DemoOutcome
from deploy.exact_sum import check_sums
from deploy.scoring import add_scores
from hospital_node import keys as hospital_keys
from hospital_node.clock import SystemClock
from hospital_node.ledger_store import LedgerStore
from privacy.assessment.evidence import BUDGETS
from privacy.guarantees.guarantee import rounded_up
from privacy.ledgers.ledger import fold
from privacy.ledgers.policy_file import parse_policy
from privacy.link.canonical import canonical
from privacy.studies import agreement as agreements
from privacy.studies.trained_model import TrainedModel


def finish(run: DemoRun, outcome: DemoOutcome, console: Console) -> int:
    """Scores the model, builds the assessment again with the scores in its evidence, prints everything; returns the exit code."""
    path = run.out / "result.json"
    if not path.is_file():
        console.print(
            f"[red]the coordinator ended without a result (exit code {outcome.exit_code}); logs: {run.folder.logs}[/red]"
        )
        return outcome.exit_code or 3
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if result["status"] != "done":
        console.print(f"[red]the study failed: {result['reason']}[/red]")
        pia = _assess(run)
        _print_privacy(result, console)
        _print_missing(run, result, console)
        console.print(f"privacy impact assessment ({pia.status}): {pia.html}")
        return outcome.exit_code or 3
    agreement = agreements.from_bytes((run.out / "evidence" / "agreement.json").read_bytes())
    theta = TrainedModel.from_bytes((run.out / "model.json").read_bytes()).theta
    began = time.monotonic()
    tables = {name: run.folder.data / f"{name}.csv" for name in run.hospitals}
    result = add_scores(
        run.out, result, agreement, theta, tables, run.folder.data, True, lambda p: _say(p, console)
    )
    scored = time.monotonic()
    sums = check_sums(run, agreement)
    pia = _assess(run)
    _print_scores(result, console)
    _print_arms(result, console)
    _print_privacy(result, console)
    _print_missing(run, result, console)
    console.print(sums.sentence)
    phases = {
        "start": outcome.seconds.get("start", 0.0),
        **result["seconds"],
        "scores and baselines": scored - began,
        "assessment": time.monotonic() - scored,
        "all": time.monotonic() - run.started_s,
    }
    console.print("seconds: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in phases.items()))
    console.print(f"privacy impact assessment ({pia.status}): {pia.html}")
    console.print(f"check it yourself: .venv/bin/wardround-dpo verify {run.out}")
    if not sums.equal:
        return 3
    return outcome.exit_code


def _assess(run: DemoRun) -> BuiltPia:
    """The assessment, with the scores of the simulation in its evidence; as `wardround-coordinator pia build` writes it."""
    budgets = {}
    for name in run.hospitals:
        path = run.folder.hospital(name).policy
        policy = parse_policy(path.read_text(encoding="utf-8"), str(path))
        budgets[name] = {"epsilon_total": policy.epsilon_total, "delta_total": policy.delta_total}
    (run.out / BUDGETS).write_bytes(canonical(budgets))
    own = coordinator_keys.load(run.folder.coordinator / "keys")
    return build(run.out, identity=own.identity_private, tests=Path("out/test-evidence.json"))


def _say(progress: Progress, console: Console) -> None:
    console.print(f"  {progress.text}")


def _print_scores(result: dict[str, Any], console: Console) -> None:
    table = Table(
        title=f"C-index on {result['test']['n']} held-out patients (simulation only)", title_justify="left"
    )
    table.add_column("model")
    table.add_column("C-index", justify="right")
    table.add_column("needs")
    guarantee = result["guarantee"]
    epsilon = (
        f"epsilon {rounded_up(guarantee['epsilon'], 4)} per patient"
        if guarantee["kind"] == "dp"
        else "no noise"
    )
    table.add_row("federated, " + epsilon, f"{result['test']['c_index']:.3f}", "no record leaves a hospital")
    baselines = result["baselines"]
    table.add_row(
        "pooled Cox, no privacy", f"{baselines['pooled_cox']['c_index']:.3f}", "all records in one place"
    )
    table.add_row(
        "each hospital alone, same epsilon (mean)",
        f"{baselines['local_only']['c_index']:.3f}",
        "nothing shared",
    )
    console.print(table)


def _print_arms(result: dict[str, Any], console: Console) -> None:
    """Hazard ratios of the arms; what noise does to them is said, not hidden."""
    cox = {c["name"]: c for c in result["baselines"]["pooled_cox"]["coefficients"]}
    table = Table(title="hazard ratios of the arms against arm 0 (zidovudine)", title_justify="left")
    for name in ("arm", "federated", "pooled Cox", "pooled Cox, 95 % interval"):
        table.add_column(name, justify="left" if name == "arm" else "right")
    for coefficient in result["coefficients"]:
        if not coefficient["name"].startswith("arms="):
            continue
        pooled = cox[coefficient["name"]]
        low, high = (np.exp(pooled["log_hr"] + sign * 1.96 * pooled["se"]) for sign in (-1, 1))
        table.add_row(
            coefficient["name"].removeprefix("arms="),
            f"{np.exp(coefficient['log_hr']):.2f}",
            f"{np.exp(pooled['log_hr']):.2f}",
            f"{low:.2f} to {high:.2f}",
        )
    console.print(table)
    if result["guarantee"]["kind"] == "dp":
        console.print(
            "Noise and per-patient clipping move the federated ratios in either direction; they have no interval yet and are no estimate of a "
            "treatment effect. What they serve is the ranking of patients, which is what the C-index measures."
        )


def _print_privacy(result: dict[str, Any], console: Console) -> None:
    table = Table(
        title="per hospital: what everything it released may reveal about one patient", title_justify="left"
    )
    for name in (
        "hospital",
        "declared size",
        "epsilon, this study",
        "epsilon, all its studies",
        "delta",
        "rounds spent",
        "reserved only",
    ):
        table.add_column(name, justify="left" if name == "hospital" else "right")
    for hospital, body in result["per_hospital"].items():
        if body["epsilon"] is None:
            table.add_row(hospital, str(body["n_public"]), body["reason"], "", "", "", "")
            continue
        table.add_row(
            hospital,
            str(body["n_public"]),
            f"{body['epsilon']:.3f}",
            f"{body['epsilon_all_studies']:.3f}",
            f"{body['delta']:.2g}",
            str(body["rounds_spent"]),
            str(body["rounds_reserved_only"]),
        )
    console.print(table)
    guarantee = result["guarantee"]
    if guarantee["kind"] == "dp":
        seen_by = (
            "the coordinator together with the T colluding hospitals, while the secure aggregation holds"
            if result["mode"] == "distributed"
            else "the coordinator with any number of hospitals, secure aggregation not counted"
        )
        console.print(
            f"Guarantee: ({rounded_up(guarantee['epsilon'], 4)}, {rounded_up(guarantee['delta'], 3)})-DP per {guarantee['unit']}, {guarantee['adjacency']}, through the stage "
            f"'{result['stage']}' and every round; seen by {seen_by}."
        )
    else:
        console.print(f"Guarantee: none. {guarantee['reason']}")


def _print_missing(run: DemoRun, result: dict[str, Any], console: Console) -> None:
    missing = result["cohort"]["missing"]
    if not missing:
        console.print(f"every round was answered by all {len(result['hospitals'])} hospitals")
    for entry in missing:
        name = entry["hospital"]
        console.print(
            f"[yellow]missing: {name} from round {entry['round']} on, at step {entry['step']} ({entry['reason']})[/yellow]"
        )
        if result["per_hospital"][name]["epsilon"] is None:
            console.print(f"  the ledger on the disk of {name}: {_own_ledger(run, name)} (simulation only)")


def _own_ledger(run: DemoRun, name: str) -> str:
    """What a hospital that is gone had charged, read from its own file, which in a study only it can do."""
    home = run.folder.hospital(name)
    with LedgerStore(home.ledger, hospital_keys.load(home.keys).identity_private, SystemClock()) as store:
        states = [(key[2], state.kind) for key, state in fold(store.entries()).items()]
    kinds = dict.fromkeys(kind for _, kind in states)
    return ", ".join(
        f"{kind} for rounds {', '.join(str(number) for number, own in states if own == kind)}"
        for kind in kinds
    )

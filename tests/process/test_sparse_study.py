"""A study over the sparse graph between real processes and mutual TLS, at the smallest size that the rule admits.

Six hospitals, one of which may collude: four neighbors each, of whom three are enough, and no graph that could fail. On the way a hospital
loses its process when it is about to sign the final set of a round, and later the coordinator does, which costs everybody a second graph.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from deploy import dpo_cli, study_cli
from deploy.actg175 import HOSPITALS, write_demo
from deploy.demo_consortium import DemoFolder, DemoRun, form_consortium
from deploy.exact_sum import check_sums
from deploy.processes import Line, ProcessGroup
from hospital_node.journal import Journal
from privacy.studies.agreement import from_bytes
from secagg.params import Neighborhood
from tests.process.demo_runs import no_process_left
from tests.process.test_coordinator_restart import PATIENCE_S, free_port, is_event
from tests.process.test_distributed import TRIAL, TRIAL_COLUMNS

SIX = ("east", "middle", "north", "south", "upper", "west")
VICTIM, ITS_ROUND, LAST_ROUND_BEFORE = "south", 2, 4
RUNNER = CliRunner()


@pytest.fixture
def six(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoRun:
    """Keys, roster, policies and tables of six hospitals, and the study file."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    run = DemoRun(DemoFolder(tmp_path / "demo"), 1, 0.0, SIX)
    source = tmp_path / "actg175"
    write_demo(source)
    policy = (source / "north.policy.toml").read_text(encoding="utf-8")
    policy = policy.replace('modes = ["local"]', 'modes = ["distributed"]')
    policy = policy.replace("allow_sparse_graph = false", "allow_sparse_graph = true")
    form_consortium(
        run.folder.coordinator, {run.folder.hospital(name): policy for name in SIX}, "operator of the test"
    )
    patients = pd.concat(
        [pd.read_csv(source / f"{h}.csv", usecols=TRIAL_COLUMNS)[TRIAL_COLUMNS] for h in HOSPITALS]
    )
    run.folder.data.mkdir(parents=True, exist_ok=True)
    for place, name in enumerate(SIX):
        patients[place :: len(SIX)].to_csv(run.folder.data / f"{name}.csv", index=False)
    quoted = ", ".join(f'"{name}"' for name in SIX)
    text = TRIAL.replace("{north = 430, east = 430, south = 430, west = 430}", _sizes())
    text = text.replace('["north", "east", "south", "west"]\nthreshold = 3', f"[{quoted}]")
    text = text.replace("[privacy]", '[secure_aggregation]\ngraph = "sparse"\n[privacy]')
    run.study.write_text(text, encoding="utf-8")
    run.out.mkdir()
    return run


def _sizes() -> str:
    return "{" + ", ".join(f"{name} = 285" for name in SIX) + "}"


def until(group: ProcessGroup, wanted: Callable[[Line], bool]) -> None:
    """Wait for a line; the victim's operator says yes to everything else."""
    for line in group.lines(PATIENCE_S):
        if wanted(line):
            return
        if line.process == VICTIM and line.event is not None and line.event.get("event") == "confirm":
            group[VICTIM].answer("y")
    raise AssertionError("it did not come")


def is_about_to_sign(line: Line) -> bool:
    event = line.event or {}
    return line.process == VICTIM and (event.get("step"), event.get("round")) == ("sign", ITS_ROUND)


def starts_last_round(line: Line) -> bool:
    return (
        is_event(line, "round_started") and line.event is not None and line.event["round"] > LAST_ROUND_BEFORE
    )


@pytest.mark.slow
def test_a_study_over_the_sparse_graph_with_a_killed_hospital_and_a_killed_coordinator(six: DemoRun) -> None:
    linted = RUNNER.invoke(study_cli.app, ["lint", str(six.study)])
    assert linted.exit_code == 0
    assert "4 random neighbors and needs 3" in linted.output
    address = f"127.0.0.1:{free_port()}"
    coordinator = [
        "run", "--home", str(six.folder.coordinator), "--study", str(six.study), "--listen", address,
        "--out", str(six.out), "--json",
    ]  # fmt: skip

    def hospital(name: str, *more: str) -> None:
        own = [
            "run", "--home", str(six.folder.hospital(name).root), "--study", str(six.study),
            "--data", str(six.folder.data / f"{name}.csv"), "--coordinator", address, "--json", *more,
        ]  # fmt: skip
        group.start(name, "hospital_node.cli", own)

    with ProcessGroup(six.folder.logs) as group:
        group.start("coordinator", "coordinator.cli", coordinator)
        for name in SIX:
            hospital(name, *(("--confirm",) if name == VICTIM else ()))
        until(group, is_about_to_sign)
        group[VICTIM].kill()
        group.wait(VICTIM, PATIENCE_S)
        hospital(VICTIM)
        until(group, starts_last_round)
        group["coordinator"].kill()
        group.wait("coordinator", PATIENCE_S)
        group.start("coordinator", "coordinator.cli", coordinator)
        until(group, lambda line: is_event(line, "resumed"))
        assert group.wait("coordinator", PATIENCE_S) == 0, (six.folder.logs / "coordinator.log").read_text()
        assert {name: group.wait(name, PATIENCE_S) for name in SIX} == dict.fromkeys(SIX, 0)
    agreement = from_bytes((six.out / "evidence" / "agreement.json").read_bytes())
    assert agreement.secagg.neighborhood == Neighborhood(4, 3)
    assert check_sums(six, agreement).equal
    rounds = [json.loads(s) for s in (six.out / "evidence" / "rounds.jsonl").read_text().splitlines()]
    signing = rounds[ITS_ROUND - 1]
    # It had agreed, so its vector is in the sum, and the others' signatures were enough.
    assert (signing["status"], signing["answered"]) == ("done", list(SIX))
    assert signing["missing"] in ([], [{"hospital": VICTIM, "step": "open"}])
    assert rounds[-1]["answered"] == list(SIX)
    for name in SIX:
        journal = Journal(six.folder.hospital(name).journal)
        # One graph for each process of the coordinator, counted by everybody.
        assert journal.graphs(agreement.study.id) == 2
        journal.close()
    result = json.loads((six.out / "result.json").read_text())
    assert 0 < result["guarantee"]["epsilon"] <= 3
    assert "masks against 4 random neighbors" in (six.out / "pia.html").read_text()
    verified = RUNNER.invoke(dpo_cli.app, ["verify", str(six.out)])
    assert "The bundle holds." in verified.output, verified.output
    assert no_process_left(six.folder.root)

"""Mode distributed between real processes over mutual TLS: the arms-only trial and a Newton study, to a bundle that verifies."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from coordinator import keys as coordinator_keys
from coordinator.pia.build import build as build_pia
from deploy import actg175
from deploy.demo_consortium import DemoFolder, DemoRun, prepare
from deploy.demo_run import run_processes
from deploy.dpo_cli import read_bundle
from deploy.exact_sum import check_sums
from privacy.assessment.verify import verify_bundle
from privacy.studies.agreement import from_bytes

TRIAL_COLUMNS = ["patient", "days", "cens", "arms"]
TRIAL = """
[study]
id = "arms"
purpose = "Show federated survival analysis on a published randomized trial; no clinical use"
horizon_days = 1095
n_public = {north = 430, east = 430, south = 430, west = 430}
[cohort]
hospitals = ["north", "east", "south", "west"]
threshold = 3
colluding = 1
deadline_s = 60
[privacy]
mode = "distributed"
epsilon = 3
[model]
trial = {arm = "arms", allocation = {"0" = 1, "1" = 1, "2" = 1, "3" = 1}}
[[field]]
name = "patient"
type = "category"
role = "id"
purpose = "tell patients apart"
[[field]]
name = "days"
type = "float"
role = "time"
unit = "days"
purpose = "follow-up"
[[field]]
name = "cens"
type = "int"
role = "event"
purpose = "the trial's primary end point"
[[field]]
name = "arms"
type = "category"
role = "feature"
purpose = "treatment"
categories = ["0", "1", "2", "3"]
"""


@pytest.fixture
def consortium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoRun:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))
    run = prepare(DemoFolder(tmp_path), Console(file=sys.stderr, quiet=True))
    for name in run.hospitals:
        policy = run.folder.hospital(name).policy
        policy.write_text(policy.read_text().replace('modes = ["local"]', 'modes = ["distributed"]'))
    return run


def finish(run: DemoRun) -> dict[str, Any]:
    """Runs the processes; every hospital ends well, and an officer's recomputation agrees."""
    outcome = run_processes(run, None, Console(file=sys.stderr, quiet=True))
    assert outcome.exit_code == 0, (run.folder.logs / "coordinator.log").read_text()
    assert outcome.hospital_exits == dict.fromkeys(run.hospitals, 0)
    agreement = from_bytes((run.out / "evidence" / "agreement.json").read_bytes())
    checked = check_sums(run, agreement)
    assert (checked.equal, checked.spare) == (True, True)
    for line in (run.out / "evidence" / "rounds.jsonl").read_text().splitlines():
        record = json.loads(line)
        assert record["noise_removed"] == record["answered"] == sorted(run.hospitals)
    own = coordinator_keys.load(run.folder.coordinator / "keys")
    build_pia(run.out, identity=own.identity_private, tests=run.out / "no-tests.json")
    assert verify_bundle(read_bundle(run.out)).ok
    result: dict[str, Any] = json.loads((run.out / "result.json").read_text())
    assert result["mode"] == "distributed"
    assert 0 < result["guarantee"]["epsilon"] <= 3
    assert "colluding hospitals" in result["guarantee"]["view"]
    return result


@pytest.mark.slow
def test_a_trial_s_effects_with_intervals(consortium: DemoRun) -> None:
    consortium.study.write_text(TRIAL, encoding="utf-8")
    for name in consortium.hospitals:
        path = consortium.folder.data / f"{name}.csv"
        pd.read_csv(path, usecols=TRIAL_COLUMNS)[TRIAL_COLUMNS].to_csv(path, index=False)
    result = finish(consortium)
    assert result["rounds"] == 6
    rows = {row["name"]: row for row in result["coefficients"]}
    # Cox on all patients says -.71; at this epsilon the noise is a sixth of the standard error.
    assert rows["arms=1"]["log_hr"] == pytest.approx(-0.71, abs=0.4)
    for row in rows.values():
        assert row["ci95"][0] < row["log_hr"] < row["ci95"][1] < 0.1
        assert 0.1 < row["se"] < 0.25


@pytest.mark.slow
def test_newton_steps_on_everything(consortium: DemoRun) -> None:
    text = actg175.study_text().replace('mode = "local"', 'mode = "distributed"')
    text = text.replace('recipe = "auto"\nstrategy = "fedavg"', "rounds = 3")
    consortium.study.write_text(text, encoding="utf-8")
    result = finish(consortium)
    assert result["rounds"] == 5  # life table, means and three scores: a Hessian would drown
    assert np.isfinite([row["log_hr"] for row in result["coefficients"]]).all()

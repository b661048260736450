"""A trial as a statistician tries it: effects with intervals in the result, and a bundle that verifies."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from deploy.dpo_cli import read_bundle
from deploy.simulate import simulate
from privacy.assessment.claims_result import results
from privacy.assessment.evidence import RECEIPTS, RESULT, load
from privacy.assessment.pia_schema import Status
from privacy.assessment.recompute import recompute
from privacy.assessment.verify import verify_bundle
from privacy.link.canonical import canonical
from privacy.recipes.trial_interval import LATE
from privacy.studies.study import parse_study
from secagg.receipt import without_sum
from tests.bench.trial import study_text

PATIENTS = 300
LOG_HR = -1.2
THREE = (
    ("a = 300, b = 300, c = 300, d = 300, e = 300", "a = 300, b = 300, c = 300"),
    ("threshold = 4", "threshold = 3"),
)


def write_hospital(folder: Path, name: str, rng: np.random.Generator) -> None:
    arm = rng.integers(0, 2, PATIENTS)
    days = np.round(500 * rng.exponential(size=PATIENTS) / np.exp(LOG_HR * arm) + 1, 1)
    pd.DataFrame(
        {
            "patient": [f"{name}{i}" for i in range(PATIENTS)],
            "days": days.astype(str),
            "event": "1",
            "arm": arm.astype(str),
        }
    ).to_csv(folder / f"{name}.csv", index=False)


def test_the_effect_has_an_interval_that_knows_of_the_noise(tmp_path: Path) -> None:
    text = study_text("distributed", 2.0, {"0": 1.0, "1": 1.0}, PATIENTS)
    for old, new in THREE:
        assert old in text
        text = text.replace(old, new)
    data, rng = tmp_path / "data", np.random.default_rng(5)
    data.mkdir()
    for name in "abc":
        write_hospital(data, name, rng)
    done = simulate(
        parse_study(text, "trial"), data, tmp_path / "out", lambda progress: None, baselines=False
    )
    assert done.failed is None, done.failed
    rounds = (tmp_path / "out" / "evidence" / "rounds.jsonl").read_text().splitlines()
    assert [json.loads(line)["status"] for line in rounds] == 6 * ["done"]
    (row,) = done.result["coefficients"]
    assert row["name"] == "arm=1"
    # About 450 and 230 events: a standard error of .08 without noise.
    assert 0.08 < row["se"] < 0.25
    assert abs(row["log_hr"] - LOG_HR) < 5 * row["se"]
    claims = {
        claim["id"]: claim for claim in json.loads((tmp_path / "out" / "pia.json").read_bytes())["claims"]
    }
    assert not [claim for claim in claims.values() if claim["status"] == "FAILED"]
    files = read_bundle(tmp_path / "out")
    assert verify_bundle(files).ok
    # More than half have the event: the bias that no interval counts stands in the result and on the page, and cannot be left out.
    assert done.result["coefficients_limit"] == LATE
    assert claims["E-COEFFICIENTS"]["limits"] == f"{LATE[0].upper()}{LATE[1:]}."
    result = json.loads(files[RESULT])
    assert status_with(files, {RESULT: canonical(result | {"coefficients_limit": ""})}) is Status.FAILED
    assert status_with(files, {RESULT: canonical(result | {"coefficients_limit": LATE})}) is Status.VERIFIED
    # A sum that is not there is no contradiction; another study's columns are one.
    bare = {f"{RECEIPTS}2.bin": without_sum(files[f"{RECEIPTS}2.bin"])}
    assert status_with(files, bare) is Status.GAP
    other = {RESULT: canonical(result | {"coefficients": []})}
    assert status_with(files, bare | other) is Status.FAILED


def status_with(files: Mapping[str, bytes], changed: Mapping[str, bytes]) -> Status:
    """Of the claim on coefficients, with other files."""
    evidence = load({**files, **changed})
    return next(c.status for c in results(evidence, recompute(evidence)) if c.id == "E-COEFFICIENTS")

"""A distributed study as a statistician tries it: result, assessment and a bundle that verifies."""

import json
from pathlib import Path

import pytest

from deploy.dpo_cli import read_bundle
from deploy.simulate import simulate
from privacy.assessment.verify import verify_bundle
from tests.study_files import study, table, write_csv

CHANGES = (('mode = "local"', 'mode = "distributed"'), ("[model]", "[model]\nrounds = 2"))


def test_the_assessment_says_whose_knowledge_the_number_bounds_and_the_bundle_verifies(
    tmp_path: Path,
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    for seed, hospital in enumerate("abc"):
        write_csv(table(60, seed), data, f"{hospital}.csv")
    done = simulate(study(*CHANGES), data, out, lambda progress: None, baselines=False)
    assert done.failed is None, done.failed
    assert done.result["guarantee"]["view"].endswith("the T colluding hospitals")
    assert any("secure aggregation holds" in said for said in done.result["guarantee"]["assumptions"])
    claims = {claim["id"]: claim for claim in json.loads((out / "pia.json").read_bytes())["claims"]}
    assert claims["E-GUARANTEE"]["status"] == "VERIFIED"
    assert "were it broken" in json.dumps(claims["E-GUARANTEE"])
    assert claims["E-PLAN"]["status"] == "VERIFIED"
    assert not [claim for claim in claims.values() if claim["status"] == "FAILED"]
    assert verify_bundle(read_bundle(out)).ok
    assert done.result["per_hospital"]["a"]["epsilon"] == pytest.approx(3, rel=1e-3)

"""The seed case: the mean age of a subgroup at epsilon 1 beside the true one, the difference explained by the stated noise."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deploy.analysis_lines import analysis_lines
from deploy.dpo_cli import read_bundle
from deploy.mean_age import study_text, write_example
from deploy.simulate import simulate
from privacy.analytics.expected import expected_noise
from privacy.assessment.evidence import RESULT, load
from privacy.assessment.pia_document import document
from privacy.assessment.pia_schema import Status
from privacy.assessment.verify import verify_bundle
from privacy.studies.agreement import build
from privacy.studies.study import parse_study


def test_a_mean_at_epsilon_1_beside_the_true_value(tmp_path: Path) -> None:
    write_example(tmp_path / "data")
    study = parse_study(study_text(), "mean_age.toml")
    done = simulate(study, tmp_path / "data", tmp_path / "out", lambda _: None)
    assert done.failed is None, done.failed
    assert done.result["guarantee"]["epsilon"] == pytest.approx(1, rel=1e-3)
    assert done.result["guarantee"]["epsilon"] <= 1
    tables = pd.concat(pd.read_csv(tmp_path / "data" / f"{h}.csv") for h in study.hospitals)
    subgroup = tables.loc[tables["symptom"] == 1, "age"]
    (answer,) = done.result["analysis"]["results"]
    (row,) = [row for row in done.result["analysis_truth"] if row["what"].endswith("mean")]
    (group,) = answer["groups"]
    assert row["true"] == pytest.approx(subgroup.mean(), abs=1e-6)
    assert row["difference"] == pytest.approx(group["mean"] - subgroup.mean(), abs=1e-6)
    # The true size and mean give the same noise as the released ones nearly do; five of them bound the difference.
    ratio = (subgroup.mean() - 51) / 39
    expected = 39 * answer["noise_sd"] / len(subgroup) * np.sqrt(1 + 2 * ratio**2)
    assert group["mean_noise_sd"] == pytest.approx(expected, rel=0.25)
    assert abs(row["difference"]) < 5 * expected
    # What price says for everybody, times everybody over the subgroup.
    (priced,) = expected_noise(build(study))
    assert priced["noise_sd"] * 1720 / len(subgroup) == pytest.approx(expected, rel=0.3)
    told = "\n".join(analysis_lines(done.result))
    assert "mean of age where symptom = True" in told
    assert "expected noise sd" in told
    claims = {
        claim["id"]: claim for claim in json.loads((tmp_path / "out" / "pia.json").read_bytes())["claims"]
    }
    assert claims["E-ANALYSIS"]["status"] == "VERIFIED"
    assert claims["E-MODEL"]["status"] == "NOT_APPLICABLE"
    bundle = read_bundle(tmp_path / "out")
    wrong = {**bundle, RESULT: bundle[RESULT].replace(b'"mean":', b'"mean":1')}
    assert wrong[RESULT] != bundle[RESULT]
    (claim,) = [claim for claim in document(load(wrong)).claims if claim.id == "E-ANALYSIS"]
    assert claim.status is Status.FAILED
    assert verify_bundle(bundle).ok
    assert not [claim for claim in claims.values() if claim["status"] == "FAILED"]

"""The engine without a guarantee: what it costs the ledger, its public bounds, and a process that tells nothing."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from hospital_node.cli import main
from hospital_node.home import Home
from hospital_node.synthesis.quality import quality
from hospital_node.synthesis.sdv_engine import SdvProblem, sdv_table
from tests.command_lines import run
from tests.study_files import study, table, write_csv
from tests.unit.hospital_node.synthesis.test_quality import patients
from tests.unit.hospital_node.synthesis.test_synthesize import home as home
from tests.unit.hospital_node.synthesis.test_synthesize import kinds, synthesize

needs_sdv = pytest.mark.skipif(find_spec("sdv") is None, reason="the extra 'sdv' is not installed")


def permit_no_numbers(home: Home) -> None:
    text = home.policy.read_text()
    for old, new in (
        ('modes = ["local"]', 'modes = ["local", "none"]'),
        ("allow_mode_none = false", "allow_mode_none = true"),
        ('"synthetic_dp"]', '"synthetic_sdv"]'),
    ):
        assert old in text
        text = text.replace(old, new)
    home.policy.write_text(text, encoding="utf-8")


@needs_sdv
@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_table_without_a_number_voids_every_number_of_the_ledger(home: Home) -> None:
    permit_no_numbers(home)
    frame, rng = table(200), np.random.default_rng(4)
    # Two peaks and nobody beside them: of a normal with their mean and spread three in ten lie beyond the patients' extremes.
    frame["age"] = np.round(55 + 5 * rng.choice([-1, 1], 200) + rng.uniform(-0.3, 0.3, 200), 2).astype(str)
    write_csv(frame, home.root.parent, "extract.csv")
    out = home.root.parent / "synthetic.csv"
    ran = synthesize(home, "--engine", "sdv", "--patients", 500, "--json")
    assert ran.code == 0, ran.err
    assert ran.json()["guarantee"]["kind"] == "none"
    body = json.loads(out.with_name("synthetic.csv.json").read_text())
    assert "epsilon" not in body["guarantee"]
    assert "not patients" in body["guarantee"]["reason"]
    assert "BUSL-1.1" in body["license"]
    assert kinds(home) == ["RESERVE", "SPENT"]
    last = run(main, "ledger", "--home", home.root, "--json").out.splitlines()[-1]
    assert json.loads(last)["cumulative"]["kind"] == "none"
    made = pd.read_csv(out)
    real = frame["age"].astype(float)
    # Truncated at the dictionary's bounds, not at the patients' extremes: some three in ten of 500 lie beyond them, and none of those is moved onto
    # them. By chance a tenth or fewer lie beyond once in 10^20 tables; that a few are drawn equal to an extreme is no fault.
    beyond = (made["age"] > real.max()) | (made["age"] < real.min())
    assert beyond.mean() > 0.1
    assert made["age"].isin([real.max(), real.min()]).mean() < 0.05
    assert made["age"].between(0, 100).all()
    share = frame["dead"].astype(int).where(frame["days"].astype(float) <= 1000, 0).mean()
    assert made["dead"].mean() == pytest.approx(share, abs=0.005)
    checked = run(main, "data", "check", "--study", home.root.parent / "study.toml", "--data", out)
    assert checked.code == 0, checked.err


@needs_sdv
@pytest.mark.slow
def test_the_gate_is_passed_on_many_patients() -> None:
    real, read = patients(3000), study()
    made = sdv_table(real, read, 6000)
    found = quality(real, made, read, lambda train: sdv_table(train, read, len(train)))
    assert found.passed, found.to_json()["limits"]


def test_a_worker_that_fails_tells_nothing_of_what_it_said() -> None:
    loud = "import sys; print('417.5'); print('P00003', file=sys.stderr); raise SystemExit(3)"
    with pytest.raises(SdvProblem) as problem:
        sdv_table(patients(200), study(), 10, command=(sys.executable, "-c", loud))
    assert "ended with code 3" in str(problem.value)
    assert problem.value.__context__ is None
    for value in ("417.5", "P00003"):
        assert value not in str(problem.value)


def test_a_stratum_of_a_few_is_refused() -> None:
    frame = patients(200)
    frame["dead"] = (np.arange(200) < 5).astype(float)
    with pytest.raises(SdvProblem, match="too few for SDV"):
        sdv_table(frame, study(), 10, command=(sys.executable,))


def test_without_the_extra_it_is_refused_before_anything_is_charged(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    permit_no_numbers(home)
    monkeypatch.setattr("hospital_node.synthesis.sdv_engine.find_spec", lambda name: None)
    refused = synthesize(home, "--engine", "sdv", "--patients", 50)
    assert refused.code == 2
    assert "not installed" in refused.error()
    assert "BUSL-1.1" in refused.error()
    assert kinds(home) == []


@pytest.mark.parametrize("lacks", ["allow_mode_none", "modes", "stages"])
def test_a_policy_has_to_permit_a_table_without_a_number(home: Home, lacks: str) -> None:
    permit_no_numbers(home)
    text = home.policy.read_text()
    changes = {
        "allow_mode_none": ("allow_mode_none = true", "allow_mode_none = false"),
        "modes": ('"local", "none"', '"local"'),
        "stages": ('"synthetic_sdv"', '"synthetic_dp"'),
    }
    home.policy.write_text(text.replace(*changes[lacks]), encoding="utf-8")
    refused = synthesize(home, "--engine", "sdv", "--patients", 50)
    assert refused.code == 1
    assert lacks in refused.error()
    assert kinds(home) == []


def test_the_worker_needs_nothing_of_this_project() -> None:
    source = Path(__file__).parents[4] / "hospital_node" / "synthesis" / "sdv_worker.py"
    imports = [
        line.strip()
        for line in source.read_text().splitlines()
        if line.strip().startswith(("import", "from"))
    ]
    assert {line.split()[1].split(".")[0] for line in imports} == {
        "json", "sys", "warnings", "typing", "numpy", "pandas", "copulas", "sdv",
    }  # fmt: skip

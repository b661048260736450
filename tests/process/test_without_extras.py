"""Everything but the engine and the source that need them runs where the extras sdv and duckdb cannot be imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.study_files import table, text, write_csv
from tests.unit.hospital_node.test_cli import POLICY

ROOT = Path(__file__).parents[2]

# Refuses the extras as if they were not installed, then runs command lines; prints one line of JSON for each.
BLOCKED = """
import contextlib, importlib, io, json, pkgutil, sys
extras = {"sdv", "copulas", "rdt", "ctgan", "deepecho", "sdmetrics", "duckdb"}
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in extras:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked())
import importlib.util
real = importlib.util.find_spec
importlib.util.find_spec = lambda name, package=None: None if name.split(".")[0] in extras else real(name, package)
from hospital_node import sources, synthesis
for package in (sources, synthesis):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        importlib.import_module(found.name)
from hospital_node.cli import main as hospital
from deploy.study_cli import main as study
for arguments in json.load(sys.stdin):
    out, err = io.StringIO(), io.StringIO()
    sys.argv = arguments
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            (hospital if arguments[0] == "hospital" else study)()
        except SystemExit as ended:
            code = ended.code
    print(json.dumps({"code": code or 0, "out": out.getvalue(), "err": err.getvalue()}))
"""


@pytest.mark.slow
def test_the_rest_works_without_sdv_and_duckdb(tmp_path: Path) -> None:
    home, tables = tmp_path / "home", tmp_path / "tables"
    tables.mkdir()
    (tmp_path / "study.toml").write_text(text(("epsilon = 3", "epsilon = 8")), encoding="utf-8")
    for seed, hospital in enumerate("abc"):
        write_csv(table(150, seed), tables, f"{hospital}.csv")
    given = ["--study", str(tmp_path / "study.toml"), "--data", str(tables / "a.csv")]
    synthesize = [
        "hospital",
        "data",
        "synthesize",
        *given,
        "--home",
        str(home),
        "--out",
        str(tmp_path / "s.csv"),
    ]
    cohort = str(ROOT / "deploy" / "cohort_omop.toml")
    commands = [
        ["hospital", "init", "a", "--home", str(home)],
        ["hospital", "data", "check", *given],
        [*synthesize, "--epsilon", "1"],
        [*synthesize, "--engine", "sdv", "--patients", "20"],
        [
            "hospital",
            "data",
            "flatten",
            "--cohort",
            cohort,
            "--source",
            str(tables),
            "--out",
            str(tmp_path / "f.csv"),
        ],
    ]
    study = [
        "study",
        "simulate",
        str(tmp_path / "study.toml"),
        "--data",
        str(tables),
        "--out",
        str(tmp_path / "out"),
    ]
    commands.append([*study, "--no-baselines", "--json"])
    home.mkdir(mode=0o700)
    policy = POLICY.format(epsilon=9.0).replace('"generalize"]', '"synthetic_dp", "synthetic_sdv"]')
    policy = policy.replace('["local"]', '["local", "none"]').replace("= false", "= true")
    (home / "policy.toml").write_text(policy, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", BLOCKED],
        input=json.dumps(commands),
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    init, check, dp, sdv, omop, simulated = (json.loads(line) for line in done.stdout.splitlines())
    for ran in (init, check, dp, simulated):
        assert ran["code"] == 0, ran["err"]
    assert (tmp_path / "s.csv").exists()
    assert (tmp_path / "out" / "model.json").exists()
    assert sdv["code"] == 2
    assert "extra 'sdv'" in sdv["err"]
    assert omop["code"] == 2
    assert "wardround[sources]" in omop["err"]

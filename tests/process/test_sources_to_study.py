"""From an OMOP or FHIR source to a result, with the commands that the README tells a user to type."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path

import pytest

from tests import fhir_fixture, omop_fixture
from tests.process.real_studies import Consortium, Ran, typed

HOSPITAL, COORDINATOR, STATISTICIAN = "hospital_node.cli", "coordinator.cli", "deploy.study_cli"
HOSPITALS = ("a", "b", "c")
PURPOSE = "Show where the data of a study come from; no clinical use"
# What the draft leaves to people; a purpose of fewer hospitals or columns would hide what the draft says of the rest.
ANSWERS = (
    ('purpose = ""  ', f'purpose = "{PURPOSE}"  '),
    ("1000", "60"),
    ('source = "" ', 'source = "limits of what is compatible with life" '),
    ("maximum = 1 ", "maximum = 300 "),
    ('family = "piecewise_exponential"', 'family = "none"\n\n[analysis]\nkaplan_meier = true'),
)
POLICY = f"""
epsilon_total = 4
delta_total = 1e-3
minimum_noise_multiplier = 0.3
minimum_threshold = 3
minimum_cohort = 3
colluding_minimum = 1
aborted_rounds_maximum = 5
modes = ["local"]
families = ["none"]
stages = ["none"]
analyses = ["survival"]
purposes = ["{PURPOSE}"]
expires = {date.today().year + 1}-12-31
"""


def ok(ran: Ran) -> str:
    assert ran.code == 0, ran.out + ran.err
    return ran.out


def form_by_hand(root: Path) -> Consortium:
    """init, enrol and roster, typed on each party's machine."""
    made = Consortium(root, HOSPITALS)
    ok(typed(COORDINATOR, "init", "--home", made.coordinator))
    homes = [made.home(name) for name in HOSPITALS]
    for home in homes:
        ok(typed(HOSPITAL, "init", home.root.name, "--home", home.root, "--contact", "Dr. Osei"))
        home.policy.write_text(POLICY, encoding="utf-8")
    ok(typed(COORDINATOR, "enrol", *(h.keys / "enrolment.json" for h in homes), "--home", made.coordinator))
    ok(typed(COORDINATOR, "roster", "--home", made.coordinator))
    (draft,) = made.coordinator.rglob("consortium.draft.json")
    for home in homes:
        ok(typed(HOSPITAL, "enrol", draft, "--home", home.root, answers="y\n"))
    signatures = [next(h.keys.glob("*.signature.json")) for h in homes]
    ok(typed(COORDINATOR, "roster", *signatures, "--home", made.coordinator))
    complete = next(made.coordinator.rglob("consortium.json"))
    for home in homes:
        ok(typed(HOSPITAL, "enrol", complete, "--home", home.root))
    return made


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["omop", "fhir"])
def test_a_source_becomes_a_result(kind: str, tmp_path: Path) -> None:
    fixture = omop_fixture if kind == "omop" else fhir_fixture
    # One composite end point: no model and no curve takes competing risks yet.
    cohort = fixture.COHORT.replace("code = 2\ndeath", "code = 1\ndeath")
    (tmp_path / "cohort.toml").write_text(cohort, encoding="utf-8")
    ok(typed(STATISTICIAN, "new", "--cohort", "cohort.toml", "--out", "study.toml", cwd=tmp_path))
    draft = tmp_path / "study.toml"
    left = ok(typed(STATISTICIAN, "lint", draft))
    assert "'decide'" in left, "a draft that nobody has answered must not look finished"
    text = draft.read_text(encoding="utf-8")
    for before, after in ANSWERS:
        assert before in text, before
        text = text.replace(before, after)
    draft.write_text(re.sub(r'"decide: [^"]*"', f'"{PURPOSE}"', text), encoding="utf-8")
    assert "note" not in ok(typed(STATISTICIAN, "lint", draft))
    priced = ok(typed(STATISTICIAN, "price", draft))
    assert "epsilon 3 at delta" in priced
    made = (
        form_by_hand(tmp_path)
        if kind == "omop"
        else Consortium.form(tmp_path, dict.fromkeys(HOSPITALS, POLICY))
    )
    tables = {}
    for seed, name in enumerate(HOSPITALS, start=1):
        source, tables[name] = tmp_path / f"{name}-source", tmp_path / f"{name}.csv"
        if kind == "omop":
            omop_fixture.write(omop_fixture.population(200, seed), source)
        else:
            fhir_fixture.write(fhir_fixture.export(80, seed), source)
        flat = typed(HOSPITAL, "data", "flatten", "--cohort", "cohort.toml", "--source", source,
                     "--out", tables[name], "--study", draft, cwd=tmp_path)  # fmt: skip
        ok(flat)
        assert "patients fit the dictionary of cohort" in flat.out
        ok(typed(HOSPITAL, "data", "check", "--study", draft, "--data", tables[name]))
        ok(typed(HOSPITAL, "study", "show", "--study", draft, "--home", made.home(name).root))
    study = made.run(draft, tables)
    assert study.agree(HOSPITALS), study.complaints
    (curve,) = study.result["analysis"]["results"]
    rows = sum(len(path.read_text(encoding="utf-8").splitlines()) - 1 for path in tables.values())
    (everybody,) = curve["groups"]
    assert abs(everybody["patients"] - rows) < 6 * everybody["patients_noise_sd"]
    verified = typed("deploy.dpo_cli", "verify", study.out, "--json")
    assert verified.code == 0
    assert json.loads(verified.out)["ok"]
    # Nobody outside hears of a row: the ids of the table are in no log and in nothing that the coordinator wrote.
    ids = [line.split(",")[0] for path in tables.values() for line in path.read_text().splitlines()[1:]]
    outside = [p.read_bytes() for p in study.out.rglob("*") if p.is_file()]
    long_ids = [i.encode() for i in ids if len(i) > 8]
    assert not any(i in body for i in long_ids for body in outside)

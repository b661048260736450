"""Procedures, Encounters and late entry: the flat table equals a plain re-computation, in R4's words and in R5's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hospital_node.cli import main
from hospital_node.sources.definition_file import parse_definition
from hospital_node.sources.flatten import flatten
from tests import fhir_care_fixture, omop_fixture
from tests.command_lines import run
from tests.fhir_fixture import Resources, coded, write
from tests.oracles import naive_fhir_care, naive_omop
from tests.oracles.same_rows import assert_same_rows

DEFINITION = parse_definition(fhir_care_fixture.COHORT, "cohort.toml")
CANARIES = ("zanzibar", "P-CANARY-77", "1947-11-19")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_fhir_is_that_of_a_plain_script(tmp_path: Path, seed: int) -> None:
    folder = write(fhir_care_fixture.export(200, seed), tmp_path)
    expected = naive_fhir_care.cohort(folder)
    assert {row["event"] for row in expected} == {0, 1, 2, 3}
    assert {row["last_seen"] for row in expected} == {None, "ward", "emergency", "clinic"}
    assert sum(row["entered"] > 0 for row in expected) > 20
    assert any(row["days"] == row["entered"] + 0.5 for row in expected)
    assert_same_rows(flatten(DEFINITION, folder).table, expected)


@pytest.mark.parametrize("seed", [1, 2])
def test_omop_is_that_of_a_plain_script(tmp_path: Path, seed: int) -> None:
    pytest.importorskip("duckdb", reason="the extra 'sources' is not installed")
    tables = omop_fixture.entering_late(omop_fixture.population(seed=seed))
    folder = omop_fixture.write(tables, tmp_path)
    expected = naive_omop.cohort(folder, late=True)
    assert {row["event"] for row in expected} == {0, 1, 2}
    assert sum(row["entry"] > 0 for row in expected) > 5
    definition = parse_definition(omop_fixture.LATE, "cohort.toml")
    assert_same_rows(flatten(definition, folder).table, expected)


def test_nobody_is_at_risk_before_the_entry(tmp_path: Path) -> None:
    table = flatten(DEFINITION, write(fhir_care_fixture.export(200), tmp_path)).table
    assert (table["entered"] < table["days"]).all()
    without = fhir_care_fixture.COHORT.replace('[entry]\nfrom = "visit"\nconcepts = "ambulatory"\n', "")
    without = without.replace('[[field]]\nname = "entered"\nfrom = "entry"\n', "")
    everybody = flatten(parse_definition(without, "cohort.toml"), tmp_path).table
    both = table.merge(everybody, on="pid", suffixes=("", "_all"))
    assert len(both) == len(table) < len(everybody)
    pd.testing.assert_series_equal(both["event"], both["event_all"], check_names=False)


def sound() -> Resources:
    """One patient with a bypass and a visit."""
    who = {"subject": {"reference": "Patient/P-CANARY-77"}}
    act = {"system": fhir_care_fixture.ACT, "code": "AMB"}
    code = coded("http://snomed.info/sct", fhir_care_fixture.BYPASS)
    return {
        "patients.ndjson": [{"resourceType": "Patient", "id": "P-CANARY-77", "birthDate": "1947-11-19"}],
        "procedures.ndjson": [
            {"resourceType": "Procedure", "id": "o", "status": "completed", **who, "code": code}
            | {"performedDateTime": "2016-02-03"}
        ],
        "visits.ndjson": [
            {"resourceType": "Encounter", "id": "v", "status": "finished", **who, "class": act}
            | {"period": {"start": "2016-02-05"}}
        ],
    }


def cells(file: str, **new: Any) -> Callable[[Resources], object]:
    return lambda made: made[file][0].update(new)


TWO = [coded(fhir_care_fixture.ACT, "IMP"), coded(fhir_care_fixture.ACT, "EMER")]
FAULTS: list[tuple[Callable[[Resources], object], str]] = [
    (
        cells("procedures.ndjson", performedDateTime="19.11.1947"),
        "Procedure.performedDateTime in procedures.ndjson line 1: is no FHIR date",
    ),
    (
        cells("procedures.ndjson", performedDateTime=None, occurrencePeriod={"start": "2016-02"}),
        "Procedure.occurrencePeriod.start in procedures.ndjson line 1: is a year or a month alone",
    ),
    (
        cells("procedures.ndjson", performedDateTime=None, performedString="zanzibar"),
        "Procedure.performed[x] or occurrence[x] in procedures.ndjson line 1: is missing",
    ),
    (
        cells("visits.ndjson", period={"end": "2016-02-05"}),
        "Encounter.period or actualPeriod in visits.ndjson line 1: is missing",
    ),
    (
        cells("visits.ndjson", period=None, actualPeriod={"start": "zanzibar"}),
        "Encounter.actualPeriod.start in visits.ndjson line 1: is no FHIR date",
    ),
    (
        cells("visits.ndjson", subject={"reference": "Patient/zanzibar"}),
        "Encounter.subject in visits.ndjson line 1: names no patient of the export",
    ),
    (
        cells("visits.ndjson", **{"class": TWO}),
        "Encounter.class or type in visits.ndjson line 1: is two categories of field last_seen at once",
    ),
    (cells("procedures.ndjson", status="not-done"), "nobody is left after the rule 'with an index event'"),
    (
        cells("visits.ndjson", status="cancelled"),
        "nobody is left after the rule 'with the record that begins observation'",
    ),
]


@pytest.mark.threat("FL-21", control="C-SCHEMA")
@pytest.mark.parametrize(("change", "sentence"), FAULTS, ids=[f[1][:60] for f in FAULTS])
def test_one_sentence_without_a_patient(
    tmp_path: Path, change: Callable[[Resources], object], sentence: str
) -> None:
    made = sound()
    change(made)
    (tmp_path / "cohort.toml").write_text(fhir_care_fixture.COHORT.replace('undated = "drop"', ""))
    out, source = tmp_path / "flat.csv", write(made, tmp_path / "source")
    ran = run(main, "data", "flatten", "--cohort", tmp_path / "cohort.toml", "--source", source, "--out", out)
    assert ran.code == 2
    assert sentence in ran.error()
    assert not any(canary in ran.err for canary in CANARIES)
    assert not out.exists()

"""FHIR: the flat table equals a plain re-computation, and a record that fails names its path and line, and no patient."""

import copy
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hospital_node.cli import main
from hospital_node.sources.definition_file import parse_definition
from hospital_node.sources.fhir_resources import target_of
from hospital_node.sources.flatten import flatten
from tests import fhir_fixture as fixture
from tests.command_lines import run
from tests.oracles import naive_fhir
from tests.oracles.same_rows import assert_same_rows

CANARIES = ("zanzibar", "P-CANARY-77", "4711.25", "1947-11-19")
DEFINITION = parse_definition(fixture.COHORT, "cohort.toml")
STRICT = fixture.COHORT.replace('partial_dates = "middle"\nunresolved = "drop"\nundated = "drop"', "")
STRICT = STRICT.replace('deceased_without_date = "leave_out"', "").replace('comparator = "as_value"', "")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_table_is_that_of_a_plain_script(tmp_path: Path, seed: int) -> None:
    folder = fixture.write(fixture.export(seed=seed), tmp_path)
    expected = naive_fhir.cohort(folder)
    assert len(expected) > 40
    assert {row["event"] for row in expected} == {0, 1, 2}
    assert_same_rows(flatten(DEFINITION, folder).table, expected)


def test_files_and_their_names_change_nothing(tmp_path: Path) -> None:
    made = fixture.export(50)
    whole = flatten(DEFINITION, fixture.write(made, tmp_path / "a")).table
    folder = tmp_path / "b"
    folder.mkdir()
    lines = [json.dumps(resource) for resources in made.values() for resource in resources]
    with gzip.open(folder / "all.ndjson.gz", "wt") as file:
        file.write("\n".join(lines) + "\n\n")
    pd.testing.assert_frame_equal(flatten(DEFINITION, folder).table, whole)


def sound() -> dict[str, list[dict[str, Any]]]:
    """Two patients with one clean record of everything."""
    made: dict[str, list[dict[str, Any]]] = {
        "patients.ndjson": [],
        "conditions.ndjson": [],
        "observations.ndjson": [],
    }
    made["orders.ndjson"] = []
    for patient in ("P-CANARY-77", "P2"):
        who = {"subject": {"reference": f"Patient/{patient}"}}
        made["patients.ndjson"].append(
            {"resourceType": "Patient", "id": patient, "gender": "female", "birthDate": "1947-11-19"}
        )
        made["conditions.ndjson"].append(
            {
                "resourceType": "Condition",
                "id": f"c{patient}",
                **who,
                "code": fixture.coded(fixture.SNOMED, fixture.HEART_FAILURE),
                "onsetDateTime": "2016-02-03",
            }
        )
        pressure = {"value": 4711.25, "unit": "mmHg", "system": fixture.UCUM, "code": "mm[Hg]"}
        parts = [
            {"code": fixture.coded(fixture.LOINC, "8462-4")},
            {"code": fixture.coded(fixture.LOINC, fixture.SYSTOLIC), "valueQuantity": pressure},
        ]
        common = {"resourceType": "Observation", "status": "final", "effectiveDateTime": "2016-01-01", **who}
        made["observations.ndjson"] += [
            {
                **common,
                "id": f"o{patient}",
                "code": fixture.coded(fixture.LOINC, fixture.PANEL),
                "component": parts,
            },
            {
                **common,
                "id": f"s{patient}",
                "code": fixture.coded(fixture.LOINC, fixture.SMOKING),
                "valueCodeableConcept": fixture.coded(fixture.SNOMED, fixture.SMOKER),
            },
        ]
        made["orders.ndjson"].append(
            {
                "resourceType": "MedicationRequest",
                "id": f"m{patient}",
                "status": "active",
                "intent": "order",
                "authoredOn": "2016-01-01",
                **who,
                "medicationCodeableConcept": fixture.coded(fixture.RXNORM, fixture.METFORMIN),
            }
        )
    return copy.deepcopy(made)


Made = dict[str, list[dict[str, Any]]]


def quantity(**cells: Any) -> Callable[[Made], object]:
    return lambda made: made["observations.ndjson"][0]["component"][1]["valueQuantity"].update(cells)


def smoking(**cells: Any) -> Callable[[Made], object]:
    def change(made: Made) -> None:
        del made["observations.ndjson"][1]["valueCodeableConcept"]
        made["observations.ndjson"][1].update(cells)

    return change


def cells(file: str, **new: Any) -> Callable[[Made], object]:
    return lambda made: made[file][0].update(new)


def code(system: str, value: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": value}]}


FAULTS: list[tuple[Callable[[Made], object], str]] = [
    (
        quantity(code="bar"),
        "Observation.component[1].valueQuantity in observations.ndjson line 1: has unit 'bar', for which field sbp declares no conversion",
    ),
    (quantity(code="zanzibar"), "line 1: has a unit in a spelling of its own, for which"),
    (quantity(code=None, unit=None), "line 1: has no unit, for which field sbp declares no conversion"),
    (
        quantity(value="zanzibar"),
        "Observation.component[1].valueQuantity.value in observations.ndjson line 1: is no number",
    ),
    (
        quantity(comparator=">"),
        "Observation.component[1].valueQuantity.comparator in observations.ndjson line 1: says less or more",
    ),
    (
        smoking(valueString="zanzibar"),
        "Observation.valueString in observations.ndjson line 2: is no coded value, which field smoker takes",
    ),
    (
        smoking(valueCodeableConcept=code(fixture.SNOMED, "77176002")),
        "Observation.valueCodeableConcept in observations.ndjson line 2: has code 'http://snomed.info/sct|77176002', which field smoker does not list",
    ),
    (
        smoking(valueCodeableConcept=code(fixture.SNOMED, "P-CANARY-77")),
        "has a code of a system that messages do not repeat",
    ),
    (
        smoking(valueCodeableConcept=code("urn:zanzibar", "4711.25")),
        "has a code of a system that messages do not repeat",
    ),
    (
        cells("conditions.ndjson", onsetDateTime="19.11.1947"),
        "Condition.onsetDateTime in conditions.ndjson line 1: is no FHIR date",
    ),
    (
        cells("conditions.ndjson", onsetDateTime="1947-11"),
        "Condition.onsetDateTime in conditions.ndjson line 1: is a year or a month alone; say by [source] partial_dates",
    ),
    (
        cells("conditions.ndjson", onsetDateTime=None),
        "Condition.onsetDateTime in conditions.ndjson line 1: is missing and so is every other date",
    ),
    (
        cells("conditions.ndjson", subject={"reference": "Patient/zanzibar"}),
        "Condition.subject in conditions.ndjson line 1: names no patient of the export",
    ),
    (
        cells("conditions.ndjson", subject={"reference": "Group/P2"}),
        "Condition.subject in conditions.ndjson line 1: names no patient",
    ),
    (
        cells("conditions.ndjson", subject={"reference": "#zanzibar"}),
        "Condition.subject in conditions.ndjson line 1: names no patient",
    ),
    (
        cells("patients.ndjson", deceasedBoolean=True),
        "fewer than 10 patients are known to be dead without a date",
    ),
    (
        cells("patients.ndjson", deceasedDateTime="1947"),
        "Patient.deceasedDateTime in patients.ndjson line 1: is a year or a month alone",
    ),
    (
        cells("patients.ndjson", birthDate="19/11/1947"),
        "Patient.birthDate in patients.ndjson line 1: is no FHIR date",
    ),
    (cells("patients.ndjson", id=""), "Patient.id in patients.ndjson line 1: is empty"),
    (
        cells("patients.ndjson", link=[{"type": "replaced-by", "other": {"reference": "Patient/zanzibar"}}]),
        "Patient.link in patients.ndjson line 1: says 'replaced-by' and leads to no patient",
    ),
    (lambda made: made.pop("patients.ndjson"), "Patient: is not in the export"),
    (lambda made: made.clear(), "holds no .ndjson file"),
    (
        cells(
            "orders.ndjson",
            medicationCodeableConcept={
                "coding": [
                    {"system": fixture.RXNORM, "code": c} for c in (fixture.METFORMIN, fixture.INSULIN)
                ]
            },
        ),
        "MedicationRequest.medication[x] in orders.ndjson line 1: is two categories of field drug at once",
    ),
]


@pytest.mark.threat("FL-21", control="C-SCHEMA")
@pytest.mark.parametrize(("change", "sentence"), FAULTS, ids=[f[1][:60] for f in FAULTS])
def test_one_sentence_without_a_patient(
    tmp_path: Path, change: Callable[[Made], object], sentence: str
) -> None:
    made = sound()
    change(made)
    folder = fixture.write(made, tmp_path / "source")
    (tmp_path / "cohort.toml").write_text(STRICT)
    out = tmp_path / "flat.csv"
    ran = run(main, "data", "flatten", "--cohort", tmp_path / "cohort.toml", "--source", folder, "--out", out)
    assert ran.code == 2
    assert sentence in ran.error()
    assert not any(canary in ran.err for canary in CANARIES)
    assert not out.exists()


def test_a_sound_export_says_no_value(tmp_path: Path) -> None:
    folder = fixture.write(sound(), tmp_path / "source")
    (tmp_path / "cohort.toml").write_text(STRICT)
    out = tmp_path / "flat.csv"
    ran = run(main, "data", "flatten", "--cohort", tmp_path / "cohort.toml", "--source", folder, "--out", out)
    assert (ran.code, ran.err) == (0, "")
    assert not any(canary in ran.out for canary in CANARIES)
    frame = pd.read_csv(out)
    assert frame["sbp"].tolist() == [4711.25, 4711.25]
    assert frame["pid"].tolist() == ["P-CANARY-77", "P2"]


@pytest.mark.parametrize(
    "line", ['{"zanzibar": ', '["P-CANARY-77"]', '{"Patient": zanzibar}', '{"Patient": "\udcff"}']
)
def test_a_line_that_is_no_resource(tmp_path: Path, line: str) -> None:
    folder = fixture.write(sound(), tmp_path / "source")
    with (folder / "patients.ndjson").open("a", errors="surrogateescape") as file:
        file.write('{"resourceType": "Patient", "id": "x"}\n' + line + "\n")
    (tmp_path / "cohort.toml").write_text(STRICT)
    ran = run(
        main,
        "data",
        "flatten",
        "--cohort",
        tmp_path / "cohort.toml",
        "--source",
        folder,
        "--out",
        tmp_path / "f.csv",
    )
    assert "patients.ndjson line 4: is no JSON object" in ran.error()
    assert not any(canary in ran.err for canary in CANARIES)


def test_a_later_version_takes_a_faulty_one_back(tmp_path: Path) -> None:
    made = sound()
    right = made["observations.ndjson"][0]
    wrong = copy.deepcopy(right)
    wrong["component"][1]["valueQuantity"]["code"] = "bar"
    right["meta"] = {"lastUpdated": "2022-01-01T10:00:00+02:00"}
    wrong["meta"] = {"lastUpdated": "2022-01-01T07:59:59Z"}
    made["observations.ndjson"].append(wrong)
    definition = parse_definition(STRICT, "cohort.toml")
    assert flatten(definition, fixture.write(made, tmp_path / "a")).table["sbp"].tolist() == [4711.25] * 2
    made["observations.ndjson"].append(
        {**right, "status": "entered-in-error", "meta": {"lastUpdated": "2022-02-01T00:00:00Z"}}
    )
    table = flatten(definition, fixture.write(made, tmp_path / "b")).table
    assert table["sbp"].isna().tolist() == [True, False]


@pytest.mark.parametrize(
    ("reference", "id_"),
    [
        ("Patient/1", "1"),
        ("https://x.example/fhir/Patient/1", "1"),
        ("Patient/1/_history/7", "1"),
        ("urn:uuid:00-1", "00-1"),
        ("Group/1", ""),
        ("1", ""),
        ("", ""),
    ],
)
def test_references(reference: str, id_: str) -> None:
    assert target_of(reference, "Patient") == id_

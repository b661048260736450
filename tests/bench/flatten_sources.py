"""Made-up OMOP tables and FHIR exports of any size, for the cohort definitions in deploy/: most records are nobody's business."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

SEED = 7
START = np.datetime64("2010-01-01")
# Records a patient, in the mean; the export that a hospital makes for a research cohort is larger still.
CONDITIONS, MEASUREMENTS, DRUGS = 5, 12, 3
SNOMED, LOINC, ACT = (
    "http://snomed.info/sct",
    "http://loinc.org",
    "http://terminology.hl7.org/CodeSystem/v3-ActCode",
)


def _dates(rng: np.random.Generator, rows: int) -> np.ndarray:
    return np.datetime_as_string(START + rng.integers(0, 4380, rows))


def omop(patients: int, folder: Path, suffix: str) -> int:
    """Tables of the CDM in `folder`; how many rows they have."""
    rng = np.random.default_rng(SEED)
    pid = np.arange(1, patients + 1)

    def records(
        name: str, a_patient: int, concepts: list[int], shares: list[float], **more: object
    ) -> pd.DataFrame:
        rows = patients * a_patient
        columns = {
            f"{name}_id": np.arange(rows),
            "person_id": rng.choice(pid, rows),
            f"{name.partition('_')[0]}_concept_id": rng.choice(concepts, rows, p=shares),
        }
        return pd.DataFrame(columns | more)

    condition = records(
        "condition_occurrence", CONDITIONS, [316139, 381316, 443392, 99], [0.2, 0.1, 0.05, 0.65]
    )
    condition["condition_start_date"] = _dates(rng, len(condition))
    measurement = records("measurement", MEASUREMENTS, [3004249, 98, 97], [0.2, 0.4, 0.4])
    measurement["measurement_date"] = _dates(rng, len(measurement))
    measurement["value_as_number"] = np.round(rng.normal(135, 20, len(measurement)))
    measurement["unit_concept_id"] = 0
    measurement["unit_source_value"] = "mm[Hg]"
    drug = records("drug_exposure", DRUGS, [1503297, 1516766, 96], [0.2, 0.1, 0.7])
    drug["drug_exposure_start_date"] = _dates(rng, len(drug))
    dead = pid[rng.random(patients) < 0.2]
    tables = {
        "person": pd.DataFrame(
            {
                "person_id": pid,
                "gender_concept_id": rng.choice([8507, 8532], patients),
                "year_of_birth": rng.integers(1930, 1990, patients),
            }
        ),
        "observation_period": pd.DataFrame(
            {
                "person_id": pid,
                "observation_period_start_date": "2009-01-01",
                "observation_period_end_date": "2021-12-31",
            }
        ),
        "death": pd.DataFrame({"person_id": dead, "death_date": _dates(rng, len(dead))}),
        "condition_occurrence": condition,
        "measurement": measurement,
        "drug_exposure": drug,
        "concept_ancestor": pd.DataFrame(
            {"ancestor_concept_id": [316139], "descendant_concept_id": [316139]}
        ),
    }
    folder.mkdir()
    for name, frame in tables.items():
        if suffix == ".csv":
            frame.to_csv(folder / f"{name}.csv", index=False)
        else:
            frame.to_parquet(folder / f"{name}.parquet", index=False)
    return sum(map(len, tables.values()))


def fhir(patients: int, folder: Path) -> int:
    """A bulk export in `folder`, one file for each type; how many resources it has."""
    rng = np.random.default_rng(SEED)
    folder.mkdir()
    lines = 0
    for name, made in (
        ("Patient", _people(patients, rng)),
        ("Condition", _conditions(patients, rng)),
        ("Observation", _observations(patients, rng)),
        ("Encounter", _encounters(patients, rng)),
    ):
        with (folder / f"{name}.ndjson").open("w", encoding="utf-8") as file:
            for resource in made:
                file.write(json.dumps({"resourceType": name, **resource}) + "\n")
                lines += 1
    return lines


Made = Iterator[dict[str, object]]


def _people(patients: int, rng: np.random.Generator) -> Made:
    dead, day = rng.random(patients) < 0.2, _dates(rng, patients)
    for number, year in enumerate(rng.integers(1930, 1990, patients)):
        gender = "male" if number % 2 else "female"
        died = {"deceasedDateTime": str(day[number])} if dead[number] else {}
        yield {"id": f"p{number}", "gender": gender, "birthDate": str(year), **died}


def _whose(rng: np.random.Generator, patients: int, rows: int) -> Iterator[tuple[int, dict[str, str], str]]:
    for number, (patient, day) in enumerate(
        zip(rng.integers(0, patients, rows), _dates(rng, rows), strict=True)
    ):
        yield number, {"reference": f"Patient/p{patient}"}, str(day)


def _coded(system: str, code: str) -> dict[str, object]:
    return {"coding": [{"system": system, "code": code, "display": "what the code means in words"}]}


def _conditions(patients: int, rng: np.random.Generator) -> Made:
    rows = patients * CONDITIONS
    codes = rng.choice(["84114007", "230690007", "38341003"], rows, p=[0.2, 0.1, 0.7])
    for number, subject, day in _whose(rng, patients, rows):
        code = _coded(SNOMED, str(codes[number]))
        yield {"id": f"c{number}", "subject": subject, "code": code, "onsetDateTime": day}


def _observations(patients: int, rng: np.random.Generator) -> Made:
    rows = patients * MEASUREMENTS
    codes = rng.choice(["8480-6", "718-7", "2160-0"], rows, p=[0.2, 0.4, 0.4])
    value = np.round(rng.normal(135, 20, rows))
    for number, subject, day in _whose(rng, patients, rows):
        quantity = {
            "value": float(value[number]),
            "unit": "mmHg",
            "system": "http://unitsofmeasure.org",
            "code": "mm[Hg]",
        }
        code = _coded(LOINC, str(codes[number]))
        said = {"id": f"o{number}", "status": "final", "subject": subject, "code": code}
        yield {**said, "effectiveDateTime": f"{day}T08:00:00Z", "valueQuantity": quantity}


def _encounters(patients: int, rng: np.random.Generator) -> Made:
    rows = patients * DRUGS
    inside = rng.random(rows) < 0.4
    for number, subject, day in _whose(rng, patients, rows):
        class_ = {"system": ACT, "code": "IMP" if inside[number] else "AMB"}
        said = {"id": f"e{number}", "status": "finished", "subject": subject, "class": class_}
        yield {**said, "period": {"start": f"{day}T08:00:00Z"}}

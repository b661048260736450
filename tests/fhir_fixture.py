"""The patients of `tests.heart_failure` as a FHIR bulk export, with the flaws that real exports have, and a cohort definition for them."""

import json
import random
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from tests.heart_failure import ID_TIME_EVENT, Patient, Pressure, patients

SNOMED, LOINC, RXNORM, UCUM = (
    "http://snomed.info/sct",
    "http://loinc.org",
    "http://www.nlm.nih.gov/research/umls/rxnorm",
    "http://unitsofmeasure.org",
)
HEART_FAILURE, STROKE, DIABETES = "84114007", "230690007", "73211009"
PANEL, SYSTOLIC, SMOKING, SMOKER, NEVER = "85354-9", "8480-6", "72166-2", "449868002", "266919005"
METFORMIN, INSULIN = "6809", "5856"
CODES = {
    "heart failure": HEART_FAILURE,
    "stroke": STROKE,
    "diabetes": DIABETES,
    "cancer": "363346000",
    "another": "1",
    "metformin": METFORMIN,
    "insulin": INSULIN,
}
# Characters of a date that a hospital writes down.
KNOWN = {"year": 4, "month": 7, "day": 10}

COHORT = f"""
[source]
kind = "fhir"
partial_dates = "middle"
unresolved = "drop"
undated = "drop"

[concepts]
hf = {{codes = ["{SNOMED}|{HEART_FAILURE}"]}}
stroke = {{codes = ["{SNOMED}|{STROKE}"]}}
diabetes = {{codes = ["{SNOMED}|{DIABETES}"]}}
sbp = {{codes = ["{LOINC}|{SYSTOLIC}"]}}
smoking = {{codes = ["{LOINC}|{SMOKING}"]}}

[index]
from = "condition"
concepts = "hf"
which = "first_qualifying"
earliest = 2015-01-01
maximum_age = 90

[[exclude]]
name = "two strokes before"
from = "condition"
concepts = "stroke"
window = [-3000, -1]
at_least = 2

[follow_up]
administrative_end = 2021-06-30
same_day = "half_day"
deceased_without_date = "leave_out"

[[outcome]]
code = 1
from = "condition"
concepts = "stroke"
[[outcome]]
code = 2
death = true

{ID_TIME_EVENT}[[field]]
name = "age"
from = "age"
[[field]]
name = "sex"
from = "gender"
map = {{male = "m", female = "f"}}
other = "x"
[[field]]
name = "sbp"
from = "observation"
concepts = "sbp"
take = "first"
window = [-365, 0]
unit = "mm[Hg]"
convert = {{kPa = 7.5}}
comparator = "as_value"
[[field]]
name = "low"
from = "measurement"
concepts = "sbp"
take = "min"
window = [-365, 0]
unit = "mm[Hg]"
convert = {{kPa = {{factor = 7.5, offset = 0}}}}
comparator = "drop"
[[field]]
name = "diabetes"
from = "condition"
concepts = "diabetes"
take = "any"
window = [-3000, 0]
[[field]]
name = "drug"
from = "drug"
take = "last"
window = [-365, 0]
map = {{"{RXNORM}|{METFORMIN}" = "metformin", "{RXNORM}|{INSULIN}" = "insulin"}}
[[field]]
name = "smoker"
from = "observation"
concepts = "smoking"
take = "last"
window = [-3000, 0]
value_map = {{"{SNOMED}|{SMOKER}" = "yes", "{SNOMED}|{NEVER}" = "no"}}
"""

Resources = dict[str, list[dict[str, Any]]]


def coded(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": "urn:local", "code": "whatever"}, {"system": system, "code": code}]}


def export(n: int = 120, seed: int = 1) -> Resources:
    """File name -> resources in the order of their lines."""
    rng = random.Random(seed)
    made: Resources = {
        name: []
        for name in (
            "Condition.ndjson",
            "MedicationRequest.ndjson",
            "Observation.000.ndjson",
            "Observation.001.ndjson",
            "Patient.ndjson",
        )
    }
    made["Medication.ndjson"] = [
        {"resourceType": "Medication", "id": f"med-{code}", "code": coded(RXNORM, code)}
        for code in (METFORMIN, INSULIN)
    ]
    number = iter(range(1, 1_000_000))
    for patient in patients(n, seed):
        _one_patient(made, patient, rng, lambda: f"r{next(number)}")
    for resources in made.values():
        rng.shuffle(resources)
    return made


def _one_patient(made: Resources, patient: Patient, rng: random.Random, name: Callable[[], str]) -> None:
    uuid = f"00000000-0000-4000-8000-{patient.number:012d}"
    id_ = rng.choice([f"p{patient.number}", uuid])
    own: dict[str, Any] = {
        "resourceType": "Patient",
        "id": id_,
        "identifier": [{"system": "urn:mrn", "value": f"m{patient.number}"}],
        "gender": patient.sex,
        "birthDate": str(patient.born)[: KNOWN[patient.born_known]],
        "meta": {"versionId": "2", "lastUpdated": "2022-02-01T00:00:00Z"},
    }
    if patient.died is not None:
        own["deceasedDateTime"] = f"{patient.died}T23:30:00-05:00"
    elif rng.random() < 0.2:
        own["deceasedBoolean"] = True
    elif rng.random() < 0.3:
        own["deceasedBoolean"] = False
    made["Patient.ndjson"].append(own)
    if rng.random() < 0.1:
        made["Patient.ndjson"].append(
            {**own, "gender": "other", "meta": {"versionId": "1", "lastUpdated": "2022-01-31T23:00:00-02:00"}}
        )
    names = [f"Patient/{id_}", f"https://fhir.example/r4/Patient/{id_}/_history/3"]
    if id_ == uuid:
        names.append(f"urn:uuid:{uuid}")
    if rng.random() < 0.1:
        merged = {"other": {"reference": f"Patient/{id_}"}, "type": "replaced-by"}
        made["Patient.ndjson"].append(
            {"resourceType": "Patient", "id": f"old{patient.number}", "link": [merged]}
        )
        names.append(f"Patient/old{patient.number}")
    if rng.random() < 0.1:
        names.append("Patient/nobody")

    def about() -> dict[str, Any]:
        if rng.random() < 0.2:
            inside = {"resourceType": "Patient", "id": "me", "identifier": own["identifier"]}
            return {"id": name(), "contained": [inside], "subject": {"reference": "#me"}}
        if rng.random() < 0.1:
            return {"id": name(), "subject": {"identifier": own["identifier"][0]}}
        return {"id": name(), "subject": {"reference": rng.choice(names)}}

    for what, when in patient.conditions:
        _condition(made["Condition.ndjson"], about(), CODES[what], when, rng)
    for pressure in patient.pressures:
        _pressure(made, about(), pressure, rng)
    if patient.smoking is not None:
        smokes, when = patient.smoking
        made["Observation.000.ndjson"].append(
            {
                "resourceType": "Observation",
                **about(),
                "status": rng.choice(["final", "amended", "preliminary"]),
                "code": coded(LOINC, SMOKING),
                "effectivePeriod": {"start": str(when)},
                "valueCodeableConcept": coded(SNOMED, SMOKER if smokes else NEVER),
            }
        )
    for drug, when in patient.drugs:
        made["MedicationRequest.ndjson"].append(_order(about(), CODES[drug], when, rng))


def _condition(
    out: list[dict[str, Any]], about: dict[str, Any], code: str, when: date, rng: random.Random
) -> None:
    resource: dict[str, Any] = {"resourceType": "Condition", **about, "code": coded(SNOMED, code)}
    match rng.randint(0, 5):
        case 0:
            resource["onsetPeriod"] = {"start": f"{when}T10:00:00+02:00"}
        case 1:
            resource |= {"onsetString": "long ago", "recordedDate": str(when)}
        case 2:
            resource["onsetDateTime"] = str(when)[:7]
        case 3 if rng.random() < 0.2:
            resource["onsetAge"] = {"value": 50}
        case _:
            resource["onsetDateTime"] = str(when)
    status = rng.choice(["confirmed"] * 8 + ["entered-in-error", "refuted"])
    resource["verificationStatus"] = {"coding": [{"system": "urn:x", "code": status}]}
    out.append(resource)
    if rng.random() < 0.1:
        out.append({**resource, "meta": {"lastUpdated": "2023-01-01T00:00:00Z"}, "code": coded(SNOMED, "1")})


def _pressure(made: Resources, about: dict[str, Any], pressure: Pressure, rng: random.Random) -> None:
    quantity: dict[str, Any] = {"value": pressure.mmhg, "unit": "mmHg", "system": UCUM, "code": "mm[Hg]"}
    if pressure.kpa:
        quantity |= {"value": pressure.mmhg / 7.5, "code": "kPa"}
    if rng.random() < 0.1:
        quantity["comparator"] = ">"
    resource: dict[str, Any] = {"resourceType": "Observation", **about, "status": "final"}
    if rng.random() < 0.5:
        resource |= {
            "code": coded(LOINC, PANEL),
            "component": [
                {"code": coded(LOINC, "8462-4")},
                {"code": coded(LOINC, SYSTOLIC), "valueQuantity": quantity},
            ],
        }
    else:
        resource |= {"code": coded(LOINC, SYSTOLIC), "valueQuantity": quantity}
    day = pressure.day
    resource["effectiveDateTime"] = rng.choice([str(day), f"{day}T08:00:00Z", f"{day}T08:00:00.5+09:00"])
    made[rng.choice(["Observation.000.ndjson", "Observation.001.ndjson"])].append(resource)
    if rng.random() < 0.2:
        made["Observation.001.ndjson"].append(
            {**resource, "status": "entered-in-error", "meta": {"versionId": "2"}}
        )


def _order(about: dict[str, Any], code: str, when: date, rng: random.Random) -> dict[str, Any]:
    resource: dict[str, Any] = {
        "resourceType": "MedicationRequest",
        "status": rng.choice(["active", "active", "completed", "cancelled"]),
        "intent": rng.choice(["order", "order", "order", "plan"]),
        **about,
        "authoredOn": str(when),
    }
    match rng.randint(0, 4):
        case 0:
            resource["medicationCodeableConcept"] = coded(RXNORM, code)
        case 1:
            resource["medication"] = {"concept": coded(RXNORM, code)}
        case 2:
            resource["medicationReference"] = {"reference": f"Medication/med-{code}"}
        case 3:
            resource["medication"] = {"reference": {"reference": f"Medication/med-{code}"}}
        case _:
            inside = {"resourceType": "Medication", "id": "drug", "code": coded(RXNORM, code)}
            resource["contained"] = [*resource.get("contained", []), inside]
            resource["medicationReference"] = {"reference": "#drug"}
    return resource


def write(made: Resources, folder: Path) -> Path:
    """One file for each name."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, resources in made.items():
        lines = [json.dumps(resource, ensure_ascii=False) + "\n" for resource in resources]
        (folder / name).write_text("".join(lines), encoding="utf-8")
    return folder

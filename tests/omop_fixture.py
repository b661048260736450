"""The patients of `tests.heart_failure` as OMOP CDM 5.4 tables, with the flaws that real exports have, and a cohort definition for them."""

import random
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from tests.heart_failure import ID_TIME_EVENT, Patient, Pressure, patients

HEART_FAILURE, ACUTE_HEART_FAILURE, DIABETES, TYPE_2 = 316139, 4023479, 201820, 201826
SYSTOLIC, KIDNEY, METFORMIN, INSULIN, SMOKING = 3004249, 3049187, 1503297, 1516766, 4275495
STROKE, CANCER = 381316, 443392
MMHG, KPA = 8876, 44777602
SMOKER, NEVER_SMOKED = 4298794, 4144272
GENDERS = {"male": 8507, "female": 8532, "unknown": 8551}
CONCEPTS = {
    "heart failure": (HEART_FAILURE, ACUTE_HEART_FAILURE),
    "stroke": (STROKE,),
    "diabetes": (TYPE_2,),
    "cancer": (CANCER,),
    "another": (99,),
    "metformin": (METFORMIN,),
    "insulin": (INSULIN,),
}

COHORT = f"""
[source]
kind = "omop"

[concepts.heart_failure]
codes = [{HEART_FAILURE}]
[concepts.diabetes]
codes = [{DIABETES}]
[concepts.stroke]
codes = [{STROKE}]
descendants = false
[concepts.cancer]
codes = [{CANCER}]
[concepts.sbp]
codes = [{SYSTOLIC}]
[concepts.smoking]
codes = [{SMOKING}]

[index]
from = "condition"
concepts = "heart_failure"
earliest = 2014-01-01
latest = 2019-12-31
prior_observation_days = 180
minimum_age = 30

[[include]]
name = "a blood pressure above 90"
from = "measurement"
concepts = "sbp"
window = [-400, 0]
minimum = 90
unit = "mm[Hg]"
convert = {{kPa = 7.5}}

[[exclude]]
name = "cancer before"
from = "condition"
concepts = "cancer"
window = [-2000, -1]

[follow_up]
administrative_end = 2020-12-31
maximum_days = 1500

[[outcome]]
code = 1
name = "stroke"
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
map = {{8507 = "m", 8532 = "f"}}
other = ""
[[field]]
name = "sbp"
from = "measurement"
concepts = "sbp"
take = "last"
window = [-365, 0]
unit = "mm[Hg]"
convert = {{kPa = 7.5}}
[[field]]
name = "sbp_mean"
from = "measurement"
concepts = "sbp"
take = "mean"
window = [-365, 0]
unit = "mm[Hg]"
convert = {{kPa = 7.5}}
[[field]]
name = "sbp_max"
from = "measurement"
concepts = "sbp"
take = "max"
window = [-100, 0]
unit = "mm[Hg]"
convert = {{kPa = 7.5}}
[[field]]
name = "diabetes"
from = "condition"
concepts = "diabetes"
take = "any"
window = [-2000, 0]
[[field]]
name = "pressures"
from = "measurement"
concepts = "sbp"
take = "count"
window = [-365, 0]
[[field]]
name = "drug"
from = "drug"
take = "last"
window = [-365, 0]
map = {{{METFORMIN} = "metformin", {INSULIN} = "insulin"}}
[[field]]
name = "smoker"
from = "observation"
concepts = "smoking"
take = "first"
window = [-2000, 0]
value_map = {{{SMOKER} = "yes", {NEVER_SMOKED} = "no"}}
"""

# The same with patients who come under observation after their index event.
LATE = (
    COHORT.replace("prior_observation_days = 180\n", "")
    .replace("[follow_up]", '[entry]\nfrom = "periods"\n\n[follow_up]\nsame_day = "half_day"')
    .replace('[[field]]\nname = "age"', '[[field]]\nname = "entry"\nfrom = "entry"\n[[field]]\nname = "age"')
)

Rows = dict[str, list[dict[str, Any]]]


def population(n: int = 200, seed: int = 1) -> Rows:
    """Table name -> rows."""
    rng = random.Random(seed)
    tables: Rows = {
        name: []
        for name in (
            "person",
            "observation_period",
            "death",
            "condition_occurrence",
            "drug_exposure",
            "measurement",
            "observation",
        )
    }
    number = iter(range(1, 1_000_000))
    for patient in patients(n, seed):
        _one_patient(tables, patient, rng, lambda: next(number))
    tables["measurement"] += [dict(row) for row in tables["measurement"][:5]]
    return tables | vocabulary()


def entering_late(tables: Rows) -> Rows:
    """The tables, with observation of three patients in four shifted, so that it may begin on or after their index event."""
    for number, row in enumerate(tables["observation_period"]):
        shift = timedelta(days=(0, 100, 400, 400)[number // 2 % 4])
        for end in ("start", "end"):
            row[f"observation_period_{end}_date"] += shift
    return tables


def _one_patient(tables: Rows, patient: Patient, rng: random.Random, number: Callable[[], int]) -> None:
    pid, born, known = 70_000 + patient.number, patient.born, patient.born_known
    tables["person"].append(
        {
            "person_id": pid,
            "gender_concept_id": GENDERS[patient.sex],
            "year_of_birth": born.year,
            "month_of_birth": born.month if known != "year" else None,
            "day_of_birth": born.day if known == "day" else None,
        }
    )
    start = patient.index - timedelta(days=rng.choice([100, 179, 180, 900, 2000]))
    end = patient.index + timedelta(days=rng.choice([0, 30, 400, 1500, 2500]))
    cut = start + timedelta(days=50)
    for first, last in ((start, cut), (cut + timedelta(days=rng.choice([1, 1, 2])), max(end, cut))):
        tables["observation_period"].append(
            {
                "observation_period_id": number(),
                "person_id": pid,
                "observation_period_start_date": first,
                "observation_period_end_date": last,
            }
        )
    if patient.died is not None:
        tables["death"].append({"person_id": pid, "death_date": patient.died})
    for what, day in patient.conditions:
        tables["condition_occurrence"].append(
            {
                "condition_occurrence_id": number(),
                "person_id": pid,
                "condition_concept_id": rng.choice(CONCEPTS[what]),
                "condition_start_date": day,
            }
        )
    for pressure in patient.pressures:
        _pressure(tables, pid, pressure, rng, number())
    for drug, day in patient.drugs:
        tables["drug_exposure"].append(
            {
                "drug_exposure_id": number(),
                "person_id": pid,
                "drug_concept_id": CONCEPTS[drug][0] + 1,
                "drug_exposure_start_date": day,
            }
        )
    if patient.smoking is not None:
        smokes, day = patient.smoking
        tables["observation"].append(
            {
                "observation_id": number(),
                "person_id": pid,
                "observation_concept_id": SMOKING,
                "observation_date": day,
                "value_as_concept_id": SMOKER if smokes else NEVER_SMOKED,
            }
        )


def _pressure(tables: Rows, pid: int, pressure: Pressure, rng: random.Random, key: int) -> None:
    unit = KPA if pressure.kpa else rng.choice([MMHG, MMHG, 0])
    timed = rng.random() < 0.6
    tables["measurement"].append(
        {
            "measurement_id": key,
            "person_id": pid,
            "measurement_concept_id": SYSTOLIC,
            "measurement_date": pressure.day,
            "measurement_datetime": f"{pressure.day} {rng.choice([0, 8, 8, 20]):02d}:30:00"
            if timed
            else None,
            "operator_concept_id": rng.choice([None, 0, 4172703]),
            "value_as_number": None if rng.random() < 0.1 else pressure.mmhg / (7.5 if pressure.kpa else 1),
            "unit_concept_id": unit,
            "unit_source_value": "mm[Hg]" if unit == 0 else "whatever",
        }
    )


def vocabulary() -> Rows:
    """`concept` and `concept_ancestor` as far as the cohort needs them."""
    standard = [
        HEART_FAILURE,
        ACUTE_HEART_FAILURE,
        DIABETES,
        TYPE_2,
        SYSTOLIC,
        SMOKING,
        STROKE,
        CANCER,
        SMOKER,
    ]
    standard += [NEVER_SMOKED, METFORMIN, INSULIN, METFORMIN + 1, INSULIN + 1, 8507, 8532, 8551, 99]
    concepts: list[dict[str, Any]] = [
        {
            "concept_id": code,
            "concept_name": f"concept {code}",
            "standard_concept": "S",
            "concept_code": str(code),
        }
        for code in standard
    ]
    for code, unit in ((MMHG, "mm[Hg]"), (KPA, "kPa")):
        concepts.append(
            {"concept_id": code, "concept_name": unit, "standard_concept": "S", "concept_code": unit}
        )
    below = [(HEART_FAILURE, ACUTE_HEART_FAILURE), (DIABETES, TYPE_2), (STROKE, 99)]
    below += [(drug, drug + 1) for drug in (METFORMIN, INSULIN)]
    ancestors = [{"ancestor_concept_id": above, "descendant_concept_id": code} for above, code in below]
    return {"concept": concepts, "concept_ancestor": ancestors}


def write(tables: Rows, folder: Path, suffix: str = ".csv") -> Path:
    """One file for each table."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in tables.items():
        frame = pd.DataFrame(rows)
        if suffix == ".parquet":
            frame.to_parquet(folder / f"{name}.parquet", index=False)
        elif name.startswith("concept"):
            # As the vocabulary's distributor ships it.
            frame.to_csv(folder / f"{name.upper()}.csv", index=False, sep="\t")
        else:
            frame.to_csv(folder / f"{name}.csv", index=False)
    return folder

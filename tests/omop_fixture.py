"""A small OMOP CDM 5.4 population of several tables, with the flaws that real exports have, and a cohort definition for it."""

import random
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

HEART_FAILURE, ACUTE_HEART_FAILURE, DIABETES, TYPE_2 = 316139, 4023479, 201820, 201826
SYSTOLIC, KIDNEY, METFORMIN, INSULIN, SMOKING = 3004249, 3049187, 1503297, 1516766, 4275495
STROKE, CANCER = 381316, 443392
MMHG, KPA = 8876, 44777602
SMOKER, NEVER_SMOKED = 4298794, 4144272

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
earliest = 2012-01-01
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

[[field]]
name = "pid"
from = "id"
[[field]]
name = "days"
from = "time"
[[field]]
name = "event"
from = "event"
[[field]]
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


def population(n: int = 120, seed: int = 1) -> Rows:
    """Table name -> rows; every patient has some of everything, at days that meet at the edges of windows."""
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
    for patient in range(1, n + 1):
        _one_patient(tables, 70_000 + patient, rng, lambda: next(number))
    tables["measurement"] += [dict(row) for row in tables["measurement"][:5]]
    return tables | vocabulary()


def entering_late(tables: Rows) -> Rows:
    """The tables, with observation of two patients in three beginning on or after their index event."""
    for number, row in enumerate(tables["observation_period"]):
        shift = timedelta(days=(0, 100, 400)[number // 2 % 3])
        for end in ("start", "end"):
            row[f"observation_period_{end}_date"] += shift
    return tables


def _one_patient(tables: Rows, pid: int, rng: random.Random, number: Callable[[], int]) -> None:
    born = date(rng.randint(1930, 1985), rng.randint(1, 12), rng.randint(1, 28))
    known = rng.choice(["year", "month", "day"])
    tables["person"].append(
        {
            "person_id": pid,
            "gender_concept_id": rng.choice([8507, 8532, 8551]),
            "year_of_birth": born.year,
            "month_of_birth": born.month if known != "year" else None,
            "day_of_birth": born.day if known == "day" else None,
        }
    )
    index = date(2011, 6, 1) + timedelta(days=rng.randint(0, 3200))
    start = index - timedelta(days=rng.choice([100, 179, 180, 900, 2000]))
    end = index + timedelta(days=rng.choice([0, 30, 400, 1500, 2500]))
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
    if rng.random() < 0.5:
        tables["death"].append(
            {"person_id": pid, "death_date": index + timedelta(days=rng.choice([0, 1, 30, 400, 800]))}
        )

    def near(days: list[int]) -> date:
        return index + timedelta(days=rng.choice(days))

    def condition(concept: int, day: date) -> None:
        tables["condition_occurrence"].append(
            {
                "condition_occurrence_id": number(),
                "person_id": pid,
                "condition_concept_id": concept,
                "condition_start_date": day,
            }
        )

    condition(rng.choice([HEART_FAILURE, ACUTE_HEART_FAILURE]), index)
    for concept, share, days in (
        (ACUTE_HEART_FAILURE, 0.4, [5, 90]),
        (STROKE, 0.5, [-30, 0, 1, 30, 400, 1500, 1501]),
        (TYPE_2, 0.4, [-2001, -2000, -10, 0, 1]),
        (CANCER, 0.15, [-300, 0]),
        (99, 0.5, [-1]),
    ):
        if rng.random() < share:
            condition(concept, near(days))
    for _ in range(rng.randint(0, 6)):
        _pressure(tables, pid, near([-400, -366, -365, -100, -1, 0, 0, 1]), rng, number())
    for concept in (METFORMIN, INSULIN):
        if rng.random() < 0.6:
            tables["drug_exposure"].append(
                {
                    "drug_exposure_id": number(),
                    "person_id": pid,
                    "drug_concept_id": concept + 1,
                    "drug_exposure_start_date": near([-400, -20, -20, 0]),
                }
            )
    if rng.random() < 0.7:
        tables["observation"].append(
            {
                "observation_id": number(),
                "person_id": pid,
                "observation_concept_id": SMOKING,
                "observation_date": near([-50, 0]),
                "value_as_concept_id": rng.choice([SMOKER, NEVER_SMOKED]),
            }
        )


def _pressure(tables: Rows, pid: int, day: date, rng: random.Random, key: int) -> None:
    pressure, unit = rng.randint(85, 200), rng.choice([MMHG, MMHG, KPA, 0])
    timed = rng.random() < 0.6
    tables["measurement"].append(
        {
            "measurement_id": key,
            "person_id": pid,
            "measurement_concept_id": SYSTOLIC,
            "measurement_date": day,
            "measurement_datetime": f"{day} {rng.choice([0, 8, 8, 20]):02d}:30:00" if timed else None,
            "operator_concept_id": rng.choice([None, 0, 4172703]),
            "value_as_number": None if rng.random() < 0.1 else (pressure / 7.5 if unit == KPA else pressure),
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

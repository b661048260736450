"""Procedures and Encounters as R4 and R5 write them, and a cohort of a bypass, later visits and late entry."""

import random
from datetime import date, timedelta
from typing import Any

from tests.fhir_fixture import SNOMED, Resources, coded
from tests.heart_failure import ID_TIME_EVENT

ACT = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
LEVEL = "http://fhir.de/CodeSystem/Kontaktebene"
BYPASS, DIALYSIS, CLINIC = "232717009", "108241001", "abteilungskontakt"

COHORT = f"""
[source]
kind = "fhir"
undated = "drop"

[concepts]
bypass = {{codes = ["{SNOMED}|{BYPASS}"]}}
dialysis = {{codes = ["{SNOMED}|{DIALYSIS}"]}}
inpatient = {{codes = ["{ACT}|IMP"]}}
emergency = {{codes = ["{ACT}|EMER"]}}
ambulatory = {{codes = ["{ACT}|AMB", "{LEVEL}|{CLINIC}"]}}

[index]
from = "procedure"
concepts = "bypass"
which = "first_qualifying"
earliest = 2015-01-01

[[exclude]]
name = "three stays before"
from = "visit"
concepts = "inpatient"
window = [-730, -1]
at_least = 3

[entry]
from = "visit"
concepts = "ambulatory"
[follow_up]
administrative_end = 2021-06-30
same_day = "half_day"

[[outcome]]
code = 1
from = "visit"
concepts = "emergency"
[[outcome]]
code = 2
from = "procedure"
concepts = "dialysis"
[[outcome]]
code = 3
death = true

{ID_TIME_EVENT}[[field]]
name = "entered"
from = "entry"
[[field]]
name = "age"
from = "age"
[[field]]
name = "stays"
from = "visit"
concepts = "inpatient"
take = "count"
window = [-730, -1]
[[field]]
name = "dialysed"
from = "procedure"
concepts = "dialysis"
take = "any"
window = [-3650, 0]
[[field]]
name = "last_seen"
from = "visit"
take = "last"
window = [-365, 0]
map = {{"{ACT}|IMP" = "ward", "{ACT}|EMER" = "emergency", "{LEVEL}|{CLINIC}" = "clinic"}}
"""


def export(n: int = 120, seed: int = 1) -> Resources:
    """File name -> resources in the order of their lines; half of each kind is R4, half R5."""
    rng = random.Random(seed)
    made: Resources = {"Encounter.ndjson": [], "Patient.ndjson": [], "Procedure.ndjson": []}
    for patient in range(1, n + 1):
        _one_patient(made, f"p{patient:03d}", rng)
    for resources in made.values():
        rng.shuffle(resources)
    for kind in ("Encounter", "Procedure"):
        for number, resource in enumerate(made[f"{kind}.ndjson"]):
            resource["id"] = f"{kind[0]}{number}"
    return made


def _one_patient(made: Resources, id_: str, rng: random.Random) -> None:
    index = date(2014, 9, 1) + timedelta(days=rng.randint(0, 2300))
    own: dict[str, Any] = {"resourceType": "Patient", "id": id_, "birthDate": "1950-06-15"}
    if rng.random() < 0.5:
        own["deceasedDateTime"] = str(index + timedelta(days=rng.choice([0, 25, 60, 400])))
    made["Patient.ndjson"].append(own)

    def near(*days: int) -> date:
        return index + timedelta(days=rng.choice(days))

    def procedure(code: str, when: date) -> None:
        made["Procedure.ndjson"].append(_procedure(id_, code, when, rng))

    def visit(kind: str, when: date) -> None:
        made["Encounter.ndjson"].append(_encounter(id_, kind, when, rng))

    procedure(BYPASS, index)
    if rng.random() < 0.3:
        procedure(BYPASS, near(-200, 10))
    if rng.random() < 0.5:
        procedure(DIALYSIS, near(-3651, -3650, 0, 24, 25, 300))
    for kind, share, days in (
        ("IMP", 0.9, (-731, -730, -1, 0)),
        ("IMP", 0.6, (-60, -1)),
        ("IMP", 0.4, (-30, 3)),
        ("EMER", 0.3, (-20, -1)),
        ("EMER", 0.5, (10, 30, 31, 500)),
        ("AMB", 0.8, (-5, 0, 30, 60)),
        (CLINIC, 0.6, (-10, 0, 31, 400)),
    ):
        if rng.random() < share:
            visit(kind, near(*days))


def _procedure(id_: str, code: str, when: date, rng: random.Random) -> dict[str, Any]:
    status = rng.choice(["completed"] * 8 + ["in-progress", "not-done", "preparation", "entered-in-error"])
    resource: dict[str, Any] = {
        "resourceType": "Procedure",
        "status": status,
        "subject": {"reference": f"Patient/{id_}"},
        "code": coded(SNOMED, code),
    }
    match rng.randint(0, 6):
        case 0:
            resource["performedDateTime"] = f"{when}T11:00:00+01:00"
        case 1:
            resource["performedPeriod"] = {"start": str(when), "end": str(when + timedelta(days=2))}
        case 2:
            resource["occurrenceDateTime"] = str(when)
        case 3:
            resource["occurrencePeriod"] = {"start": f"{when}T07:00:00Z"}
        case 4:
            resource |= {"occurrenceString": "in the night", "recorded": f"{when}T06:00:00Z"}
        case 5 if rng.random() < 0.3:
            resource["performedString"] = "long ago"
        case _:
            resource["performedDateTime"] = str(when)
    return resource


def _encounter(id_: str, kind: str, when: date, rng: random.Random) -> dict[str, Any]:
    """A department's contact is told by its type, everything else by its class."""
    class_, type_ = ("VR", kind) if kind == CLINIC else (kind, "einrichtungskontakt")
    common = {
        "resourceType": "Encounter",
        "subject": {"reference": f"Patient/{id_}"},
        "type": [{"text": "a visit"}, coded(LEVEL, type_)],
    }
    period = {"start": f"{when}T{rng.choice(['08', '20'])}:00:00Z"}
    if rng.random() < 0.5:
        status = rng.choice(["finished"] * 6 + ["in-progress", "cancelled", "planned"])
        return {**common, "status": status, "class": {"system": ACT, "code": class_}, "period": period}
    status = rng.choice(["completed"] * 6 + ["discharged", "cancelled", "entered-in-error"])
    return {
        **common,
        "status": status,
        "class": [coded(ACT, class_)],
        "plannedStartDate": f"{when - timedelta(days=40)}T08:00:00Z",
        "actualPeriod": period,
    }

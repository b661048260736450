"""The cohort of tests/fhir_care_fixture.py again, patient by patient in plain Python: shares nothing with the flattener."""

import json
from datetime import date
from pathlib import Path
from typing import Any

Resource = dict[str, Any]


def read(folder: Path, kind: str) -> list[Resource]:
    return [json.loads(line) for line in (folder / f"{kind}.ndjson").read_text().splitlines()]


def happened(resource: Resource) -> str:
    """Day and time, "" where nobody says when."""
    if resource["resourceType"] == "Encounter":
        return str((resource.get("period") or resource["actualPeriod"])["start"])
    for key in ("performed", "occurrence"):
        if f"{key}DateTime" in resource:
            return str(resource[f"{key}DateTime"])
        if f"{key}Period" in resource:
            return str(resource[f"{key}Period"]["start"])
    return str(resource.get("recorded", ""))


def kind_of(encounter: Resource) -> str:
    class_ = encounter["class"]
    code = class_["code"] if isinstance(class_, dict) else class_[0]["coding"][-1]["code"]
    return "clinic" if encounter["type"][1]["coding"][-1]["code"] == "abteilungskontakt" else str(code)


def cohort(folder: Path) -> list[Resource]:
    """Rows of the flat table, None where empty."""
    seen = {"finished", "in-progress", "completed", "discharged"}
    visits = [
        (r["subject"], kind_of(r), happened(r)) for r in read(folder, "Encounter") if r["status"] in seen
    ]
    done = [
        (r["subject"], r["code"]["coding"][-1]["code"], happened(r))
        for r in read(folder, "Procedure")
        if r["status"] in ("completed", "in-progress") and happened(r)
    ]
    rows = []
    for patient in sorted(read(folder, "Patient"), key=lambda r: str(r["id"])):
        me = {"reference": f"Patient/{patient['id']}"}
        own = sorted({(when, what) for who, what, when in visits if who == me})
        ops = sorted({(when, what) for who, what, when in done if who == me})
        rows.append(one(patient, own, ops))
    return [row for row in rows if row is not None]


def one(patient: Resource, visits: list[tuple[str, str]], ops: list[tuple[str, str]]) -> Resource | None:
    died = date.fromisoformat(patient["deceasedDateTime"]) if "deceasedDateTime" in patient else None

    def days(records: list[tuple[str, str]], *kinds: str) -> list[date]:
        return sorted(date.fromisoformat(when[:10]) for when, kind in records if kind in kinds)

    starts = [d for d in days(ops, "232717009") if d >= date(2015, 1, 1) and (died is None or died >= d)]
    if not starts:
        return None
    index = starts[0]
    stays = len([d for d in days(visits, "IMP") if -730 <= (d - index).days <= -1])
    here = [d for d in days(visits, "AMB", "clinic") if d >= index]
    if stays >= 3 or not here:
        return None
    ends = [(date(2021, 6, 30), 3, 0)]
    ends += [(d, 0, 1) for d in days(visits, "EMER") if d >= index]
    ends += [(d, 1, 2) for d in days(ops, "108241001") if d >= index]
    ends += [(died, 2, 3)] if died is not None else []
    last, _, event = min(ends)
    if last < here[0]:
        return None
    names = {"IMP": "ward", "EMER": "emergency", "clinic": "clinic"}
    recent = [
        (when[:10], when[11:], kind)
        for when, kind in visits
        if kind in names and -365 <= (date.fromisoformat(when[:10]) - index).days <= 0
    ]
    newest = [kind for *moment, kind in recent if moment == list(max(recent)[:2])]
    birthday = (index.month, index.day) >= (6, 15)
    return {
        "pid": patient["id"],
        "days": (last - index).days + (0.5 if last == here[0] else 0.0),
        "event": event,
        "entered": float((here[0] - index).days),
        "age": index.year - 1950 - (not birthday),
        "stays": stays,
        "dialysed": int(any(-3650 <= (d - index).days <= 0 for d in days(ops, "108241001"))),
        "last_seen": next((names[k] for k in names if k in newest), None),
    }

"""The cohort of tests/fhir_fixture.py again, patient by patient in plain Python: shares nothing with the flattener."""

import json
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

Resource = dict[str, Any]
END = date(2021, 6, 30)


def lines(folder: Path) -> Iterator[Resource]:
    for path in sorted(folder.glob("*.ndjson")):
        for line in path.read_text().splitlines():
            yield json.loads(line)


def newest(folder: Path) -> list[Resource]:
    """The last version of everything."""
    held: dict[str, tuple[tuple[datetime, int], Resource]] = {}
    for resource in lines(folder):
        meta = resource.get("meta", {})
        updated = datetime.fromisoformat(meta.get("lastUpdated", "1900-01-01T00:00:00Z"))
        version = (updated, int(meta.get("versionId", 0)))
        key = resource["resourceType"] + resource["id"]
        if key not in held or version >= held[key][0]:
            held[key] = (version, resource)
    return [resource for _, resource in held.values()]


def codes(concept: Any) -> set[str]:
    return {coding["code"] for coding in (concept or {}).get("coding", [])}


def middle(text: str) -> date:
    if len(text) == 4:
        return date(int(text), 7, 1)
    return date.fromisoformat((text + "-15")[:10])


def cohort(folder: Path) -> list[Resource]:
    """Rows of the flat table, None where empty."""
    resources = newest(folder)
    patients = {r["id"]: r for r in resources if r["resourceType"] == "Patient"}
    medications = {r["id"]: r for r in resources if r["resourceType"] == "Medication"}
    own: dict[str, list[Resource]] = {id_: [] for id_ in patients}
    for resource in resources:
        if "subject" in resource:
            owner = subject(resource, patients)
            if owner is not None:
                own[owner].append(resource)
    rows = [one(patients[i], own[i], medications) for i in sorted(patients) if "link" not in patients[i]]
    return [row for row in rows if row is not None]


def subject(resource: Resource, patients: dict[str, Resource]) -> str | None:
    reference = resource["subject"].get("reference", "")
    identifier = resource["subject"].get("identifier")
    if reference == "#me":
        identifier = next(c for c in resource["contained"] if c["id"] == "me")["identifier"][0]
    if identifier:
        return next(i for i, p in patients.items() if identifier in p.get("identifier", []))
    id_ = reference.removeprefix("urn:uuid:").removeprefix("https://fhir.example/r4/")
    id_ = id_.removeprefix("Patient/").split("/")[0]
    if id_ in patients and "link" in patients[id_]:
        return str(patients[id_]["link"][0]["other"]["reference"]).removeprefix("Patient/")
    return id_ if id_ in patients else None


def conditions(own: list[Resource], code: str) -> list[date]:
    found = set()
    for r in own:
        if r["resourceType"] != "Condition" or code not in codes(r["code"]):
            continue
        if codes(r["verificationStatus"]) & {"refuted", "entered-in-error"}:
            continue
        text = r.get("onsetDateTime") or r.get("onsetPeriod", {}).get("start") or r.get("recordedDate")
        if text:
            found.add(middle(text[:10]))
    return sorted(found)


def pressures(own: list[Resource]) -> list[tuple[str, float, str]]:
    """Distinct (moment that sorts, mmHg, comparator)."""
    found = set()
    for r in own:
        if r["resourceType"] != "Observation" or r["status"] not in ("final", "amended", "corrected"):
            continue
        for part in [r, *r.get("component", [])]:
            if "8480-6" in codes(part["code"]) and "valueQuantity" in part:
                q = part["valueQuantity"]
                value = q["value"] * (7.5 if q["code"] == "kPa" else 1)
                text = r["effectiveDateTime"]
                moment = text[:10] + " " + (text[11:21].rstrip("Z+-") or "00:00:00").ljust(10, " ")
                found.add((moment, value, q.get("comparator", "")))
    return sorted(found)


def one(patient: Resource, own: list[Resource], medications: dict[str, Resource]) -> Resource | None:
    born = middle(patient["birthDate"])

    def age(when: date) -> int:
        return when.year - born.year - ((when.month, when.day) < (born.month, born.day))

    died = date.fromisoformat(patient["deceasedDateTime"][:10]) if "deceasedDateTime" in patient else None
    if died is None and patient.get("deceasedBoolean"):
        return None
    starts = [d for d in conditions(own, "84114007") if d >= date(2015, 1, 1) and age(d) <= 90]
    starts = [d for d in starts if died is None or died >= d]
    if not starts:
        return None
    index = starts[0]
    strokes = conditions(own, "230690007")
    if len([d for d in strokes if -3000 <= (d - index).days <= -1]) >= 2:
        return None
    last, event = min(END, died or END), 0
    first = next((d for d in strokes if index <= d <= last), None)
    if first is not None:
        last, event = first, 1
    elif died is not None and died <= END:
        event = 2
    if last < index:
        return None
    return {
        "pid": patient["id"],
        "days": float((last - index).days) or 0.5,
        "event": event,
        "age": age(index),
        "sex": {"male": "m", "female": "f"}.get(patient["gender"], "x"),
        **covariates(own, index, medications),
    }


def covariates(own: list[Resource], index: date, medications: dict[str, Resource]) -> Resource:
    def inside(moment: str, first: int) -> bool:
        return first <= (date.fromisoformat(moment[:10]) - index).days <= 0

    bp = [p for p in pressures(own) if inside(p[0], -365)]
    first = sorted({v for m, v, _ in bp if m == bp[0][0]})
    orders = []
    smoking = []
    for r in own:
        if r["resourceType"] == "MedicationRequest" and r["status"] != "cancelled" and r["intent"] != "plan":
            code = ordered(r, medications)
            if inside(r["authoredOn"], -365):
                orders.append((r["authoredOn"], {"6809": "metformin", "5856": "insulin"}[code]))
        if (
            r["resourceType"] == "Observation"
            and "valueCodeableConcept" in r
            and r["status"] != "preliminary"
        ):
            smoking.append((r["effectivePeriod"]["start"], "449868002" in codes(r["valueCodeableConcept"])))
    smoking = sorted(s for s in smoking if inside(s[0], -3000))
    latest = {name for when, name in orders if when == max(orders)[0]}
    return {
        "sbp": sum(first) / len(first) if first else None,
        "low": min((v for _, v, sign in bp if not sign), default=None),
        "diabetes": int(any(-3000 <= (d - index).days <= 0 for d in conditions(own, "73211009"))),
        "drug": "metformin" if "metformin" in latest else "insulin" if latest else None,
        "smoker": ("yes" if smoking[-1][1] else "no") if smoking else None,
    }


def ordered(request: Resource, medications: dict[str, Resource]) -> str:
    both = request.get("medication", {})
    concept = request.get("medicationCodeableConcept") or both.get("concept")
    target = (request.get("medicationReference") or both.get("reference") or {}).get("reference", "")
    if target == "#drug":
        concept = next(c for c in request["contained"] if c["id"] == "drug")["code"]
    elif target:
        concept = medications[target.removeprefix("Medication/")]["code"]
    return next(iter(codes(concept) - {"whatever"}))

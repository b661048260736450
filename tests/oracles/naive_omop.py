"""The cohort of tests/omop_fixture.py again, patient by patient in plain Python: shares nothing with the flattener."""

import csv
from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

Row = dict[str, str]
HF, DIABETES = {316139, 4023479}, {201820, 201826}
DRUGS = {1503297: "metformin", 1503298: "metformin", 1516766: "insulin", 1516767: "insulin"}


def read(folder: Path, table: str) -> list[Row]:
    with (folder / f"{table}.csv").open() as file:
        return list(csv.DictReader(file))


def day(text: str) -> date:
    return date.fromisoformat(text[:10])


def of(rows: Iterable[Row], pid: str) -> list[Row]:
    return [row for row in rows if row["person_id"] == pid]


def cohort(folder: Path, late: bool = False) -> list[dict[str, Any]]:
    """Rows of the flat table, None where empty; `late` as the fixture's definition LATE says."""
    names = (
        "person",
        "observation_period",
        "death",
        "condition_occurrence",
        "drug_exposure",
        "measurement",
        "observation",
    )
    tables = {name: read(folder, name) for name in names}
    found = [
        one(row, {name: of(tables[name], row["person_id"]) for name in names[1:]}, late)
        for row in tables["person"]
    ]
    return [row for row in found if row is not None]


def conditions(own: dict[str, list[Row]], concepts: set[int]) -> list[date]:
    rows = own["condition_occurrence"]
    return sorted(day(r["condition_start_date"]) for r in rows if int(r["condition_concept_id"]) in concepts)


def pressures(own: dict[str, list[Row]]) -> list[tuple[datetime, float]]:
    """Distinct pairs of moment and mmHg."""
    found = set()
    for row in own["measurement"]:
        if row["value_as_number"]:
            value = float(row["value_as_number"]) * (7.5 if row["unit_concept_id"] == "44777602" else 1.0)
            moment = row["measurement_datetime"] or row["measurement_date"] + " 00:00:00"
            found.add((datetime.fromisoformat(moment), value))
    return sorted(found)


def records(own: dict[str, list[Row]]) -> set[tuple[str, str]]:
    """Distinct records of a blood pressure by moment and key; those without a value count as records too."""
    return {(r["measurement_date"], r["measurement_datetime"]) for r in own["measurement"]}


def period(own: dict[str, list[Row]], index: date, late: bool) -> tuple[date, date] | None:
    rows = own["observation_period"]
    spans = sorted(
        (day(r["observation_period_start_date"]), day(r["observation_period_end_date"])) for r in rows
    )
    start, end = spans[0]
    for first, last in spans[1:]:
        if first <= end + timedelta(days=1):
            end = max(end, last)
        elif index <= end:
            break
        else:
            start, end = first, last
    return (start, end) if index <= end and (late or start <= index) else None


def birthday(person: Row) -> date:
    month, day_ = person["month_of_birth"], person["day_of_birth"]
    if not month:
        return date(int(person["year_of_birth"]), 7, 1)
    return date(int(person["year_of_birth"]), int(float(month)), int(float(day_)) if day_ else 15)


def age_at(person: Row, when: date) -> int:
    born = birthday(person)
    return when.year - born.year - ((when.month, when.day) < (born.month, born.day))


def one(person: Row, own: dict[str, list[Row]], late: bool) -> dict[str, Any] | None:
    index = conditions(own, HF)[0]
    if not date(2014, 1, 1) <= index <= date(2019, 12, 31):
        return None
    span = period(own, index, late)
    if span is None or age_at(person, index) < 30 or (not late and (index - span[0]).days < 180):
        return None
    entry = max(span[0], index)
    died = min((day(row["death_date"]) for row in own["death"]), default=None)
    if died is not None and died < index:
        return None
    bp = pressures(own)

    def within(moment: date, first: int, last: int = 0) -> bool:
        return first <= (moment - index).days <= last

    if not any(within(m.date(), -400) and value >= 90 for m, value in bp):
        return None
    if any(within(d, -2000, -1) for d in conditions(own, {443392})):
        return None
    end = min([span[1], date(2020, 12, 31), index + timedelta(days=1500), *([died] if died else [])])
    strokes = [d for d in conditions(own, {381316}) if index <= d <= end]
    event, last = 0, end
    if strokes:
        event, last = 1, strokes[0]
    elif died == end:
        event = 2
    if last < entry or (last == entry and not late):
        return None
    row = {"pid": person["person_id"], "days": (last - index).days + 0.5 * (last == entry), "event": event}
    return {
        **row,
        **({"entry": float((entry - index).days)} if late else {}),
        "age": age_at(person, index),
        "sex": {"8507": "m", "8532": "f"}.get(person["gender_concept_id"]),
        **covariates(own, index, bp),
    }


def covariates(own: dict[str, list[Row]], index: date, bp: list[tuple[datetime, float]]) -> dict[str, Any]:
    def inside(moment: date, first: int) -> bool:
        return first <= (moment - index).days <= 0

    year = [(m, v) for m, v in bp if inside(m.date(), -365)]
    final = [v for m, v in year if m == year[-1][0]] if year else []
    hundred = [v for m, v in bp if inside(m.date(), -100)]
    drugs = [
        (day(r["drug_exposure_start_date"]), DRUGS[int(r["drug_concept_id"])])
        for r in own["drug_exposure"]
        if inside(day(r["drug_exposure_start_date"]), -365)
    ]
    latest = {name for when, name in drugs if when == max(drugs)[0]}
    smoking = [r for r in own["observation"] if inside(day(r["observation_date"]), -2000)]
    smoking.sort(key=lambda r: r["observation_date"])
    taken = {r for r in records(own) if inside(day(r[0]), -365)}
    return {
        "sbp": sum(final) / len(final) if final else None,
        "sbp_mean": sum(v for _, v in year) / len(year) if year else None,
        "sbp_max": max(hundred, default=None),
        "diabetes": int(any(inside(d, -2000) for d in conditions(own, DIABETES))),
        "pressures": len({(r[0], r[1] or f"{r[0]} 00:00:00") for r in taken}),
        "drug": "metformin" if "metformin" in latest else "insulin" if latest else None,
        "smoker": {"4298794": "yes", "4144272": "no"}[smoking[0]["value_as_concept_id"]] if smoking else None,
    }

"""Records of an OMOP CDM 5.4 source; what each request reads is filtered by DuckDB, the rest never enters memory.

Rules: a record's day is its *_date, its time that of *_datetime where both name the same day; rows equal in every
column that is read count once, a key with two contents is refused; of several death dates the earliest counts; the
date of birth comes from year, month and day of birth, what is absent of it counts as the middle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hospital_node.findings import about
from hospital_node.sources.concepts import Concepts
from hospital_node.sources.dates import DateFault, Partial, parse_moment
from hospital_node.sources.definition import Definition, Domain
from hospital_node.sources.facts import NEVER, Ints, People, Records, Request, SourceError
from hospital_node.sources.omop_tables import Tables, open_tables
from hospital_node.sources.omop_values import labels_of, numbers_of

_LEFT_OUT = np.int64(np.iinfo(np.int64).min)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Names of one clinical table's columns."""

    table: str
    key: str
    concept: str
    date: str
    datetime: str


_LAYOUTS: Mapping[Domain, _Layout] = {
    "condition": _Layout(
        "condition_occurrence",
        "condition_occurrence_id",
        "condition_concept_id",
        "condition_start_date",
        "condition_start_datetime",
    ),
    "drug": _Layout(
        "drug_exposure",
        "drug_exposure_id",
        "drug_concept_id",
        "drug_exposure_start_date",
        "drug_exposure_start_datetime",
    ),
    "procedure": _Layout(
        "procedure_occurrence",
        "procedure_occurrence_id",
        "procedure_concept_id",
        "procedure_date",
        "procedure_datetime",
    ),
    "measurement": _Layout(
        "measurement", "measurement_id", "measurement_concept_id", "measurement_date", "measurement_datetime"
    ),
    "observation": _Layout(
        "observation", "observation_id", "observation_concept_id", "observation_date", "observation_datetime"
    ),
    "visit": _Layout(
        "visit_occurrence",
        "visit_occurrence_id",
        "visit_concept_id",
        "visit_start_date",
        "visit_start_datetime",
    ),
}


def read_omop(folder: Path, definition: Definition, requests: Sequence[Request]) -> Records:
    """People and records of the tables in `folder`.

    Raises:
        SourceError: a table, a column or a mapping is missing, or a record cannot be understood.
    """
    with open_tables(folder) as tables:
        people = _people(tables, definition)
        concepts = Concepts(tables, requests)
        facts: dict[str, pd.DataFrame] = {}
        for domain in dict.fromkeys(request.domain for request in requests):
            asked = [request for request in requests if request.domain == domain]
            facts |= _facts(tables, concepts, definition, domain, asked)
        return Records(people, facts, concepts.notes)


def _people(tables: Tables, definition: Definition) -> People:
    parts = {
        "pid": tables.key("person", "person_id", required=True),
        "year": tables.key("person", "year_of_birth", required=True),
        "month": tables.key("person", "month_of_birth"),
        "day": tables.key("person", "day_of_birth"),
        "gender": tables.key("person", "gender_concept_id", required=True),
        "race": tables.key("person", "race_concept_id"),
        "ethnicity": tables.key("person", "ethnicity_concept_id"),
    }
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in parts.items())
    frame = tables.query(f"SELECT DISTINCT {chosen} FROM person t ORDER BY ALL", "person")
    if frame.empty:
        raise SourceError("person", "holds nobody; check the export")
    if frame["pid"].isna().any():
        raise SourceError(
            "person", f"has no person_id {about(int(frame['pid'].isna().sum()))}; export it again"
        )
    doubled = int(frame["pid"].duplicated().sum())
    if doubled:
        raise SourceError(
            "person", f"lists a person twice with different content {about(doubled)}; keep one row each"
        )
    tables.show("people", pd.DataFrame({"pid": frame["pid"], "person": np.arange(len(frame))}))
    month, day = (frame[part].str.zfill(2) for part in ("month", "day"))
    text = frame["year"].str.zfill(4).str.cat(("-" + month).fillna(""))
    text = text.str.cat(("-" + day).where(month.notna()).fillna(""))
    birth = _days(text, "middle", "person.year_of_birth (month_of_birth, day_of_birth)")
    death_day, undated = _deaths(tables, definition, len(frame))
    return People(
        ids=frame["pid"].to_numpy(dtype=object),
        birth_day=np.where(birth == _LEFT_OUT, NEVER, birth),
        death_day=death_day,
        dead_undated=undated,
        traits={
            name: frame[name].fillna("").to_numpy(dtype=object) for name in ("gender", "race", "ethnicity")
        },
        periods=_periods(tables, definition) if definition.uses_periods else None,
    )


def _deaths(tables: Tables, definition: Definition, n: int) -> tuple[Ints, np.ndarray]:
    day, undated = np.full(n, NEVER, dtype=np.int64), np.zeros(n, dtype=bool)
    if not tables.has("death"):
        raise SourceError(
            tables.folder.name,
            "holds no table 'death' (death.csv or death.parquet); export it, even if it is empty",
        )
    pid, text = (
        tables.key("death", "person_id", required=True),
        tables.text("death", "death_date", required=True),
    )
    frame = tables.query(
        f"SELECT p.person, {text} AS date FROM death t LEFT JOIN people p ON p.pid = {pid}", "death"
    )
    frame = _resolved(frame, definition, "death")
    found = _days(frame["date"], definition.source.partial_dates, "death.death_date")
    person = frame["person"].to_numpy(dtype=np.int64)
    dated = found != _LEFT_OUT
    np.minimum.at(day, person[dated], found[dated])
    undated[person[~dated]] = True
    return day, undated & (day == NEVER)


def _periods(tables: Tables, definition: Definition) -> pd.DataFrame:
    table = "observation_period"
    pid = tables.key(table, "person_id", required=True)
    start = tables.text(table, "observation_period_start_date", required=True)
    end = tables.text(table, "observation_period_end_date", required=True)
    frame = tables.query(
        f"SELECT p.person, {start} AS start, {end} AS last FROM {table} t LEFT JOIN people p ON p.pid = {pid}",
        table,
    )
    frame = _resolved(frame, definition, table)
    partial = definition.source.partial_dates
    days = pd.DataFrame(
        {
            "person": frame["person"].to_numpy(dtype=np.int64),
            "start": _days(frame["start"], partial, f"{table}.observation_period_start_date"),
            "end": _days(frame["last"], partial, f"{table}.observation_period_end_date"),
        }
    )
    undated = (days[["start", "end"]] == _LEFT_OUT).any(axis=1)
    if undated.any() and definition.source.undated == "refuse":
        raise SourceError(
            table,
            f"has no start or end {about(int(undated.sum()))}; correct it, or say [source] undated = 'drop'",
        )
    backward = int((days["end"] < days["start"])[~undated].sum())
    if backward:
        raise SourceError(table, f"ends before it starts {about(backward)}; correct the export")
    return days[~undated].reset_index(drop=True)


def _facts(
    tables: Tables, concepts: Concepts, definition: Definition, domain: Domain, asked: Sequence[Request]
) -> dict[str, pd.DataFrame]:
    layout = _LAYOUTS[domain]
    table = layout.table
    tables.show("wanted", concepts.wanted(asked))
    valued = any(request.reads != "nothing" for request in asked)
    unit_code, unit_join = concepts.unit_code("u.unit_id")
    columns = {
        "key": tables.key(table, layout.key),
        "pid": tables.key(table, "person_id", required=True),
        "concept": tables.concept(table, layout.concept, required=True),
        "date": tables.text(table, layout.date, required=True),
        "datetime": tables.text(table, layout.datetime),
        "value": tables.text(table, "value_as_number") if valued else "NULL::VARCHAR",
        "value_concept": tables.concept(table, "value_as_concept_id") if valued else "NULL::BIGINT",
        "unit_id": tables.concept(table, "unit_concept_id") if valued else "NULL::BIGINT",
        "unit_source": tables.text(table, "unit_source_value") if valued else "NULL::VARCHAR",
        "operator": tables.concept(table, "operator_concept_id") if valued else "NULL::BIGINT",
    }
    chosen = ", ".join(f"{sql} AS {name}" for name, sql in columns.items())
    frame = tables.query(
        f"WITH u AS (SELECT DISTINCT w.request, w.label, c.* FROM (SELECT {chosen} FROM {table} t) c "
        f"JOIN wanted w ON w.concept = c.concept) "
        f"SELECT u.*, p.person, {unit_code} AS unit_code, try_cast(u.value AS DOUBLE) AS number "
        f"FROM u LEFT JOIN people p ON p.pid = u.pid {unit_join}",
        table,
    )
    frame = _resolved(frame, definition, table)
    found = {}
    for number, request in enumerate(asked):
        rows = frame[frame["request"] == number]
        doubled = int(rows["key"].dropna().duplicated().sum())
        if doubled:
            raise SourceError(
                table, f"has a {layout.key} with two contents {about(doubled)}; export it again"
            )
        found[request.name] = _of_request(rows, request, concepts, definition, layout)
    return found


def _of_request(
    rows: pd.DataFrame, request: Request, concepts: Concepts, definition: Definition, layout: _Layout
) -> pd.DataFrame:
    date = rows["date"].where(rows["date"].notna(), rows["datetime"])
    partial = definition.source.partial_dates
    day = _days(date, partial, f"{layout.table}.{layout.date}")
    undated = int(date.isna().sum())
    if undated and definition.source.undated == "refuse":
        raise SourceError(
            f"{layout.table}.{layout.date}",
            f"is empty {about(undated)} of {request.name}; correct it, or say [source] undated = 'drop'",
        )
    labels = rows["label"].to_numpy(dtype=np.int64)
    number = np.full(len(rows), np.nan)
    keep = day != _LEFT_OUT
    if request.reads == "number":
        number, valued = numbers_of(rows, request, concepts)
        keep &= valued
    elif request.reads == "code":
        labels = labels_of(rows, request, concepts)
    made = pd.DataFrame(
        {
            "person": rows["person"].to_numpy(dtype=np.int64),
            "day": day,
            "microsecond": _times(rows["datetime"], day),
            "code": rows["concept"].to_numpy(dtype=np.int64),
            "number": number,
            "label": labels,
        }
    )
    return made[keep].drop_duplicates().reset_index(drop=True)


def _resolved(frame: pd.DataFrame, definition: Definition, table: str) -> pd.DataFrame:
    """Rows of known persons."""
    unknown = frame["person"].isna()
    if unknown.any() and definition.source.unresolved == "refuse":
        raise SourceError(
            f"{table}.person_id",
            f"names nobody in person {about(int(unknown.sum()))}; export both at once, or say [source] unresolved = 'drop'",
        )
    return frame[~unknown]


def _days(texts: pd.Series, partial: Partial, where: str) -> Ints:
    """Days since 1970-01-01; _LEFT_OUT where empty or left out by the rule on partial dates."""
    position, found = pd.factorize(texts)
    days = np.full(len(found) + 1, _LEFT_OUT, dtype=np.int64)
    faults = {DateFault.UNREADABLE: 0, DateFault.PARTIAL: 0}
    counts = np.bincount(position[position >= 0], minlength=len(found))
    for number, text in enumerate(found):
        match parse_moment(str(text), partial):
            case DateFault.DROPPED:
                continue
            case DateFault() as fault:
                faults[fault] += int(counts[number])
            case moment:
                days[number] = moment.day
    if faults[DateFault.UNREADABLE]:
        raise SourceError(
            where, f"is no date (YYYY-MM-DD) {about(faults[DateFault.UNREADABLE])}; correct the export"
        )
    if faults[DateFault.PARTIAL]:
        raise SourceError(
            where,
            f"is a year or a month alone {about(faults[DateFault.PARTIAL])}; say by [source] partial_dates what it counts as",
        )
    return np.asarray(days[position])


def _times(texts: pd.Series, day: Ints) -> Ints:
    """Microseconds of the day; 0 where there is no time, or one of another day than the record's date."""
    position, found = pd.factorize(texts)
    moments = [parse_moment(str(text), "drop") for text in found]
    there = np.array(
        [_LEFT_OUT if isinstance(m, DateFault) else m.day for m in moments] + [_LEFT_OUT], dtype=np.int64
    )
    time = np.array([0 if isinstance(m, DateFault) else m.microsecond for m in moments] + [0], dtype=np.int64)
    return np.where(there[position] == day, time[position], 0)

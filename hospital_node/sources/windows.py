"""Columns of the flat table: what each field takes of a patient's records in its window."""

import numpy as np
import pandas as pd

from hospital_node.sources.definition import Definition, FlatField
from hospital_node.sources.definition_tables import PERSONAL
from hospital_node.sources.facts import NEVER, Ints, People, Records, SourceError
from hospital_node.sources.fhir_resources import spoken_code
from hospital_node.sources.timeline import Timeline, in_window

# FHIR's administrative-gender; OMOP's are concept ids, which a message names by what the vocabulary lists.
_GENDERS = ("male", "female", "other", "unknown")


def flat_table(definition: Definition, records: Records, cohort: Timeline) -> pd.DataFrame:
    """One row for each patient of the cohort, columns in the order of the file; NaN where nothing is recorded.

    Raises:
        SourceError: a gender, race or ethnicity that `map` does not list.
    """
    starts = np.full(len(records.people), NEVER, dtype=np.int64)
    starts[cohort.person] = cohort.index_day
    columns = {field.name: _column(field, records, cohort, starts) for field in definition.field}
    return pd.DataFrame(columns)


def _column(field: FlatField, records: Records, cohort: Timeline, starts: Ints) -> pd.Series:
    match field.source:
        case "id":
            return pd.Series(records.people.ids[cohort.person])
        case "time":
            return pd.Series(cohort.time)
        case "event":
            return pd.Series(cohort.event)
        case "entry":
            return pd.Series(cohort.entry)
        case "age":
            return pd.Series(cohort.age).astype("Int64")
        case source if source in PERSONAL:
            return _trait(field, records.people, cohort)
    facts = records.facts[f"field {field.name}"]
    inside = facts[in_window(facts, starts, field.window or (0, 0))]
    values = _taken(field, inside)
    found = values.reindex(cohort.person).reset_index(drop=True)
    match field.type:
        case "bool" | "int":
            return found.fillna(0).astype(np.int64)
        case "category":
            labels = found.fillna(-1).astype(np.int64)
            return pd.Series(
                [field.categories[label] if label >= 0 else None for label in labels], dtype=object
            )
    return found.astype(np.float64)


def _taken(field: FlatField, facts: pd.DataFrame) -> pd.Series:
    """One value for each person with records, indexed by person."""
    value = "number" if field.type == "float" else "label"
    if field.take in ("any", "count"):
        counted = facts.groupby("person").size()
        return counted.clip(upper=1) if field.take == "any" else counted
    facts = facts[facts["label"] >= 0] if value == "label" else facts[facts["number"].notna()]
    if field.take in ("first", "last"):
        facts = _at_the_edge(facts, latest=field.take == "last")
    grouped = facts.groupby("person")[value]
    match field.take:
        case "max":
            return grouped.max()
        case "min":
            return grouped.min()
        case _:
            # Of several categories at one moment the first listed; sorted, so that no order of lines shows in a mean.
            return grouped.min() if value == "label" else _mean(facts)


def _mean(facts: pd.DataFrame) -> pd.Series:
    return facts.sort_values(["person", "number"]).groupby("person")["number"].mean()


def _at_the_edge(facts: pd.DataFrame, *, latest: bool) -> pd.DataFrame:
    """Of each person the records at the last, or first, moment."""
    for part in ("day", "microsecond"):
        edge = facts.groupby("person")[part].transform("max" if latest else "min")
        facts = facts[facts[part] == edge]
    return facts


def _trait(field: FlatField, people: People, cohort: Timeline) -> pd.Series:
    codes = pd.Series(people.traits[field.source][cohort.person], dtype=object)
    unknown = sorted(set(codes) - set(field.map) - {""})
    if unknown and field.other is None:
        raise SourceError(
            "mapping",
            f"{_spoken(unknown[0])} of field {field.name} has no category in map; add it, or say other",
        )
    other = field.other or None
    return codes.map(lambda code: field.map.get(code, other) if code else None)


def _spoken(code: str) -> str:
    if code in _GENDERS:
        return f"code '{code}'"
    # Ids of the shared vocabulary are below two billion; above, sites number their own.
    if code.isdecimal() and len(code) <= 10 and int(code) < 2_000_000_000:
        return f"concept {code}"
    return spoken_code(code)

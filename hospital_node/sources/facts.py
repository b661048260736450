"""What a source is asked for, and what it gives: the records of each request as arrays, patients by position."""

from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from typing import ClassVar, Literal, TypedDict, cast

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hospital_node.sources.definition import Criterion, Definition, Domain, FlatField, Scale

Ints = NDArray[np.int64]
NEVER = np.iinfo(np.int64).max
COLUMNS = ("person", "day", "microsecond", "code", "number", "label")


class SourceError(Exception):
    """A source that cannot be flattened; the message holds codes and places, never a patient's value or id.

    Attributes:
        where: file, table or field.
        problem: what is wrong and what to do.
        exit_code: 2, bad input.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, where: str, problem: str) -> None:
        """Message: "where: problem"."""
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


@dataclass(frozen=True, slots=True)
class Request:
    """Records that one part of the definition looks at.

    Attributes:
        name: of that part, for messages and as a key: "field sbp", "index".
        domain: where they are looked for.
        codes: declared code -> position of its label; 0 throughout where the code is no category.
        without: codes taken out again.
        descendants: codes of which also what is below counts.
        reads: what of the record's value is wanted.
        unit, convert, comparator: for a number.
        value_labels: coded value -> position of its label; other: position of what is not listed, -1 for an empty
            cell, None to stop.
    """

    name: str
    domain: Domain
    codes: Mapping[str, int]
    without: frozenset[str] = frozenset()
    descendants: frozenset[str] = frozenset()
    reads: Literal["nothing", "number", "code"] = "nothing"
    unit: str = ""
    convert: Mapping[str, Scale] = dataclass_field(default_factory=dict)
    comparator: Literal["refuse", "as_value", "drop"] = "refuse"
    value_labels: Mapping[str, int] = dataclass_field(default_factory=dict)
    other: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class People:
    """n patients; never prints.

    Attributes:
        ids: (n,) as the source writes them.
        birth_day: (n,) days since 1970-01-01; NEVER where unknown.
        death_day: (n,) NEVER where not known to be dead.
        dead_undated: (n,) known to be dead, not when.
        traits: "gender", "race", "ethnicity" -> (n,) codes, "" where unknown.
        periods: columns person, start, end (days, both included); None where the source has none.
    """

    ids: NDArray[np.object_]
    birth_day: Ints
    death_day: Ints
    dead_undated: NDArray[np.bool_]
    traits: Mapping[str, NDArray[np.object_]]
    periods: pd.DataFrame | None

    def __len__(self) -> int:
        """Number of patients; stays here."""
        return len(self.ids)


@dataclass(frozen=True, slots=True, repr=False)
class Records:
    """What a source gives; never prints.

    Attributes:
        people: the patients.
        facts: request's name -> table with `COLUMNS`: person (position), day, microsecond, code (any number that tells
            codes apart), number (NaN without), label (-1 without).
        notes: sentences for the data manager.
    """

    people: People
    facts: Mapping[str, pd.DataFrame]
    notes: tuple[str, ...] = ()


def requests_of(definition: Definition) -> tuple[Request, ...]:
    """One request for each part of the definition that looks at records."""
    index = definition.index
    found = [Request("index", index.source, **_codes(definition, index.concepts))]
    for kind, criteria in (("include", definition.include), ("exclude", definition.exclude)):
        found += [
            _of_criterion(definition, criterion_name(kind, number, criterion), criterion)
            for number, criterion in enumerate(criteria)
        ]
    entry = definition.entry
    if entry is not None and not definition.enters_by_periods:
        # Without the narrower type `source` could still be "periods".
        found.append(Request("entry", cast(Domain, entry.source), **_codes(definition, entry.concepts)))
    for number, outcome in enumerate(definition.outcome):
        if outcome.source is not None:
            name = outcome_name(number)
            found.append(Request(name, outcome.source, **_codes(definition, outcome.concepts)))
    for field in definition.field:
        # Without the narrower type below, `source` could still be "id" or the like.
        if field.is_windowed:
            found.append(_of_field(definition, field, cast(Domain, field.source)))
    return tuple(found)


def outcome_name(number: int) -> str:
    """Name of the request of the outcome at this position of the file, from 0."""
    return f"outcome {number + 1}"


def criterion_name(kind: str, number: int, criterion: Criterion) -> str:
    """Name of the request of an [[include]] or [[exclude]], the position from 0."""
    return f"{kind} {number + 1} ({criterion.name})"


def _of_criterion(definition: Definition, name: str, criterion: Criterion) -> Request:
    return Request(
        name,
        criterion.source,
        reads="number" if criterion.reads_value else "nothing",
        unit=criterion.unit or "",
        convert=criterion.convert,
        **_codes(definition, criterion.concepts),
    )


def _of_field(definition: Definition, field: FlatField, domain: Domain) -> Request:
    name = f"field {field.name}"
    position = {label: number for number, label in enumerate(field.categories)}
    if field.map:
        codes = {code: position[label] for code, label in field.map.items()}
        return Request(name, domain, codes, descendants=frozenset(codes if definition.is_omop else ()))
    counts = field.take in ("any", "count")
    return Request(
        name,
        domain,
        reads="code" if field.value_map else "nothing" if counts else "number",
        unit=field.unit or "",
        convert=field.convert,
        comparator=field.comparator,
        value_labels={code: position[label] for code, label in field.value_map.items()},
        other=None if field.other is None else position.get(field.other, -1),
        **_codes(definition, field.concepts),
    )


class _Codes(TypedDict):
    codes: Mapping[str, int]
    without: frozenset[str]
    descendants: frozenset[str]


def _codes(definition: Definition, names: tuple[str, ...]) -> _Codes:
    sets = [definition.concepts[name] for name in names]
    without = frozenset(str(code) for concepts in sets for code in concepts.without)
    below = [concepts for concepts in sets if definition.is_omop and concepts.descendants is not False]
    return {
        "codes": {str(code): 0 for concepts in sets for code in concepts.codes},
        "without": without,
        "descendants": frozenset(
            str(code) for concepts in below for code in (*concepts.codes, *concepts.without)
        ),
    }

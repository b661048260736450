"""The rules that rows must keep, checked with pandera; only the rule's name and a count come out of it.

Rules look at one row each and are checked piece by piece, so that pandera's masks never cover a million rows at once;
only whether an id repeats is asked of the whole column.

pandera's own error text lists the failing cells, so nothing of it is ever repeated.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from hospital_node.extract import ROWS_AT_ONCE
from privacy.patients.field import Field


@dataclass(frozen=True, slots=True)
class Violation:
    """One rule that does not hold.

    Attributes:
        column: declared column.
        rule: completes "column 'x' ... in fewer than 10 rows".
        rows: how many rows; only ever shown as a bucket.
        remedy: what to do.
    """

    column: str
    rule: str
    rows: int
    remedy: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A check and what it means; up to `share` of the rows may break it."""

    check: pa.Check
    text: str
    remedy: str
    share: float = 0.0


def violations(table: pd.DataFrame, fields: Sequence[Field], clip_share: float) -> tuple[Violation, ...]:
    """Every rule that rows break, fields in order.

    Args:
        table: typed columns, NaN where missing is allowed.
        fields: the columns' fields; a rule on two columns is left out where one of them is not among these.
        clip_share: share of rows outside a covariate's bounds that is no violation.
    """
    counted: Counter[tuple[str, int]] = Counter()
    for start in range(0, len(table), ROWS_AT_ONCE):
        counted += _broken(table.iloc[start : start + ROWS_AT_ONCE], fields, clip_share)
    found = []
    for field in fields:
        if "id" in field.role:
            repeated = _repeated(table[field.name])
            if repeated:
                found.append(
                    Violation(field.name, "repeats a patient", repeated, "keep one row for each patient")
                )
        # Text and remedy are the same for every piece.
        for number, rule in enumerate(_rules(field, fields, table.iloc[:0], clip_share)):
            rows = counted[field.name, number]
            if rows > rule.share * len(table):
                found.append(Violation(field.name, rule.text, rows, rule.remedy))
    return tuple(found)


def _repeated(cells: pd.Series) -> int:
    """Rows whose id stands in an earlier one."""
    if cells.dtype.kind == "O":
        return int(cells.duplicated(keep="first").sum())
    ordered = np.sort(cells.to_numpy())
    return int((ordered[1:] == ordered[:-1]).sum())


def _broken(table: pd.DataFrame, fields: Sequence[Field], clip_share: float) -> Counter[tuple[str, int]]:
    """How many rows of a piece break which rule of which column."""
    rules = {field.name: _rules(field, fields, table, clip_share) for field in fields}
    schema = pa.DataFrameSchema(
        {
            name: pa.Column(nullable=True, checks=[rule.check for rule in found])
            for name, found in rules.items()
        }
    )
    failures: pd.DataFrame | None = None
    try:
        schema.validate(table, lazy=True)
    except SchemaErrors as error:
        failures = error.failure_cases[["column", "check_number"]]
    if failures is None:
        return Counter()
    return Counter(
        {(str(name), int(number)): int(rows) for (name, number), rows in failures.value_counts().items()}
    )


def _rules(field: Field, fields: Sequence[Field], table: pd.DataFrame, clip_share: float) -> list[Rule]:
    cells = table[field.name]
    match field.role:
        case ("id",):
            return []
        case ("event",):
            return [_event_codes(field, cells)]
        case ("time",):
            positive = _holds(
                cells > 0,
                "is zero or negative",
                "correct the extract; who ended on the first day counts half a day or is left out, as the study decided",
            )
            return [positive, *_bounds(field, cells, 0.0)]
        case ("entry",):
            rules = [_holds(cells >= 0, "is negative", "observation starts at time 0 or later")]
            time = next((other for other in fields if "time" in other.role), None)
            if time is not None:
                before = cells * field.days_per_unit < table[time.name] * time.days_per_unit
                rules.append(
                    _holds(
                        before,
                        "is not before the follow-up time",
                        "correct the extract, or leave out who ended before observation began",
                    )
                )
            return [*rules, *_bounds(field, cells, 0.0)]
        case _:
            return _bounds(field, cells, clip_share) if field.is_number else []


def _event_codes(field: Field, cells: pd.Series) -> Rule:
    highest = field.highest_event
    codes = [str(code) for code in range(highest + 1)] if field.type == "category" else range(highest + 1)
    if highest == 1:
        text = "has a code other than 0 and 1"
        remedy = "0 is censored and 1 the event; a study with competing risks declares their codes"
    else:
        text = f"has a code other than 0 to {highest}"
        remedy = (
            "0 is censored, 1 the event and each further code a competing risk, as the study declares them"
        )
    return _holds(cells.isin(list(codes)), text, remedy)


def _bounds(field: Field, cells: "pd.Series[float]", clip_share: float) -> list[Rule]:
    low = -np.inf if field.minimum is None else field.minimum
    high = np.inf if field.maximum is None else field.maximum
    inside = cells.between(low, high) | cells.isna()
    remedy = f"check the unit ({field.unit or 'none declared'}) and correct the extract, or have the study's bounds widened"
    return [_holds(inside, "is outside the study's bounds", remedy, clip_share)]


def _holds(mask: "pd.Series[bool]", text: str, remedy: str, share: float = 0.0) -> Rule:
    """A rule whose verdict for each row is known; pandera reports the rows."""
    return Rule(pa.Check(lambda _: mask, ignore_na=False), text, remedy, share)

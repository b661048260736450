"""The rules that rows must keep, checked with pandera; only the rule's name and a count come out of it.

pandera's own error text lists the failing cells, so nothing of it is ever repeated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaErrors

from privacy.field import Field


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
    """A check and what it means."""

    check: pa.Check
    text: str
    remedy: str


def violations(table: pd.DataFrame, fields: Sequence[Field], clip_share: float) -> tuple[Violation, ...]:
    """Every rule that rows break, fields in order.

    Args:
        table: typed columns, NaN where missing is allowed.
        fields: the columns' fields; a rule on two columns is left out where one of them is not among these.
        clip_share: share of rows outside a covariate's bounds that is no violation.
    """
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
        return ()
    counted = failures.value_counts().to_dict()
    return tuple(
        Violation(field.name, rule.text, int(counted[field.name, number]), rule.remedy)
        for field in fields
        for number, rule in enumerate(rules[field.name])
        if (field.name, number) in counted
    )


def _rules(field: Field, fields: Sequence[Field], table: pd.DataFrame, clip_share: float) -> list[Rule]:
    cells = table[field.name]
    match field.role:
        case ("id",):
            return [
                _holds(~cells.duplicated(keep="first"), "repeats a patient", "keep one row for each patient")
            ]
        case ("event",):
            return [_event_codes(field, cells)]
        case ("time",):
            positive = _holds(
                cells > 0, "is zero or negative", "follow-up starts after time 0; correct the extract"
            )
            return [positive, *_bounds(field, cells, 0.0)]
        case ("entry",):
            rules = [_holds(cells >= 0, "is negative", "observation starts at time 0 or later")]
            time = next((other for other in fields if "time" in other.role), None)
            if time is not None:
                before = cells * field.days_per_unit < table[time.name] * time.days_per_unit
                rules.append(_holds(before, "is not before the follow-up time", "correct the extract"))
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
        remedy = "0 is censored, 1 the event and each further code a competing risk, as the study declares them"
    return _holds(cells.isin(list(codes)), text, remedy)


def _bounds(field: Field, cells: "pd.Series[float]", clip_share: float) -> list[Rule]:
    low = -np.inf if field.minimum is None else field.minimum
    high = np.inf if field.maximum is None else field.maximum
    inside = cells.between(low, high) | cells.isna()
    if (~inside).mean() <= clip_share:
        return []
    remedy = f"check the unit ({field.unit or 'none declared'}) and correct the extract, or have the study's bounds widened"
    return [_holds(inside, "is outside the study's bounds", remedy)]


def _holds(mask: "pd.Series[bool]", text: str, remedy: str) -> Rule:
    """A rule whose verdict for each row is known; pandera reports the rows."""
    return Rule(pa.Check(lambda _: mask, ignore_na=False), text, remedy)

"""Synthetic patients as a table in the dictionary's own units and categories, as `data check` takes it."""

from math import ceil, floor, log10

import numpy as np
import pandas as pd

from privacy.patients.dictionary import Dictionary
from privacy.patients.field import Field
from privacy.studies.grid import FloatArray, time_grid
from privacy.studies.study import Study
from privacy.synthesis.attributes import attributes
from privacy.synthesis.generate import SyntheticPatients

# Of a number's public range; more digits would be the generator's, not a measurement's.
_DIGITS = 5


def table_of(patients: SyntheticPatients, study: Study) -> pd.DataFrame:
    """One row for each synthetic patient, columns in the dictionary's order.

    Args:
        patients: from `privacy.synthesis.generate`.
        study: its dictionary and grid.
    """
    dictionary = study.dictionary
    n = len(patients.event)
    days = patients.time(time_grid(study.horizon_days, study.intervals))
    columns = _covariates(patients, dictionary)
    for field in dictionary.fields:
        if "id" in field.role:
            columns[field.name] = _ids(field, n)
        elif "time" in field.role:
            columns[field.name] = _times(field, days, study.horizon_days)
        elif "event" in field.role:
            columns[field.name] = pd.Series(patients.event).astype(
                "string" if field.type == "category" else "int64"
            )
    return pd.DataFrame({field.name: columns[field.name] for field in dictionary.fields})


def _covariates(patients: SyntheticPatients, dictionary: Dictionary) -> dict[str, pd.Series]:
    columns: dict[str, pd.Series] = {}
    for attribute, value in zip(attributes(dictionary), patients.values, strict=True):
        field = attribute.field
        match attribute.kind:
            case "number":
                columns[field.name] = _numbers(field, value)
            case "category":
                labels = pd.Categorical.from_codes(value.astype(np.int64), categories=list(field.categories))
                columns[field.name] = pd.Series(labels).astype("string")
            case "bool":
                columns[field.name] = pd.Series(value.astype(np.int64))
            case "missing":
                # An attribute follows the one whose cells it empties.
                columns[field.name] = _emptied(columns[field.name], value > 0.5)
    return columns


def _emptied(cells: pd.Series, missing: np.ndarray) -> pd.Series:
    nullable = cells.astype("Int64") if cells.dtype == "int64" else cells
    return nullable.mask(missing)


def _numbers(field: Field, scaled: FloatArray) -> pd.Series:
    """From [-1, 1] back to the field's unit, within its bounds."""
    column, (low, high) = field.columns[0], field.bounds
    on_scale = scaled * column.half_range + column.center
    raw = np.clip(np.expm1(on_scale) if column.log1p else on_scale, low, high)
    if field.type == "int":
        return pd.Series(np.clip(np.round(raw), ceil(low), floor(high)).astype(np.int64))
    return pd.Series(np.clip(np.round(raw, _decimals(high - low)), low, high))


def _times(field: Field, days: FloatArray, horizon_days: float) -> pd.Series:
    """Follow-up in the field's unit: above 0, and never beyond the horizon, where an event would not count."""
    own, horizon = days / field.days_per_unit, horizon_days / field.days_per_unit
    if field.type == "int":
        return pd.Series(np.maximum(np.minimum(np.round(own), floor(horizon)), 1).astype(np.int64))
    decimals = _decimals(horizon)
    return pd.Series(np.maximum(np.minimum(np.round(own, decimals), horizon), 10.0**-decimals))


def _decimals(width: float) -> int:
    return max(0, _DIGITS - 1 - floor(log10(width)))


def _ids(field: Field, n: int) -> pd.Series:
    numbers = pd.Series(np.arange(1, n + 1))
    return numbers if field.type == "int" else "S" + numbers.astype("string").str.zfill(len(str(n)))


def typed(table: pd.DataFrame, dictionary: Dictionary) -> pd.DataFrame:
    """A table of `table_of` with the types of `read_table`: numbers and bools as float64, categories as categoricals."""
    columns: dict[str, pd.Series] = {}
    for field in dictionary.fields:
        cells = table[field.name]
        if "id" in field.role:
            columns[field.name] = cells
        elif field.type == "category" and "event" not in field.role:
            columns[field.name] = pd.Series(pd.Categorical(cells, categories=list(field.categories)))
        else:
            columns[field.name] = cells.astype("float64")
    return pd.DataFrame(columns)

"""`data profile`: figures of a hospital's own table for its data manager. Exact, and so they never leave."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from hospital_node.coarser import Coarser, coarser
from hospital_node.cohort import cells
from hospital_node.findings import Finding
from privacy.patients.field import Field
from privacy.studies.study import Study

BARS = 20


@dataclass(frozen=True, slots=True)
class Bar:
    """Patients in one interval, category or code."""

    label: str
    patients: int


@dataclass(frozen=True, slots=True)
class ColumnProfile:
    """One column of the table.

    Attributes:
        name, type, unit: from the dictionary. roles: joined for people.
        missing: patients without a value. outside: patients outside the public bounds.
        bars: the distribution, over the public bounds or categories; none for an id.
        quartiles: 25, 50 and 75 % of a number; empty otherwise.
    """

    name: str
    type: str
    unit: str
    roles: str
    missing: int
    outside: int
    bars: tuple[Bar, ...]
    quartiles: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Profile:
    """The whole page's figures.

    Attributes:
        study: id. rows: patients in the table.
        findings: what `data check` says.
        columns: in the dictionary's order.
        coarser: k, l and t at several granularities; None without quasi-identifiers.
    """

    study: str
    rows: int
    findings: tuple[Finding, ...]
    columns: tuple[ColumnProfile, ...]
    coarser: Coarser | None


def profile(
    raw: pd.DataFrame, fitting: pd.DataFrame | None, study: Study, findings: tuple[Finding, ...]
) -> Profile:
    """Figures of a table.

    Args:
        raw: typed columns before clipping, as `examine` returns them.
        fitting: as a node would read them; None where an error keeps the table out: then no k, l, t.
        findings: of `check_table`.
    """
    return Profile(
        study=study.id,
        rows=len(raw),
        findings=findings,
        columns=tuple(_column(field, raw) for field in study.dictionary.fields),
        coarser=None if fitting is None else coarser(fitting, study),
    )


def _column(field: Field, raw: pd.DataFrame) -> ColumnProfile:
    values = np.full(len(raw), np.nan) if "id" in field.role else _values(field, raw)
    present = values[~np.isnan(values)]
    bounded = field.is_number and field.minimum is not None and field.maximum is not None
    low, high = field.bounds
    outside = int(((present < low) | (present > high)).sum()) if bounded else 0
    numeric = field.is_number and "event" not in field.role
    return ColumnProfile(
        name=field.name,
        type=field.type,
        unit=field.unit,
        roles=", ".join(field.role),
        missing=0 if "id" in field.role else int(np.isnan(values).sum()),
        outside=outside,
        bars=_bars(field, present, bounded),
        quartiles=tuple(float(q) for q in np.quantile(present, (0.25, 0.5, 0.75)))
        if numeric and len(present)
        else (),
    )


def _values(field: Field, raw: pd.DataFrame) -> np.ndarray:
    if field.type == "category" and "event" in field.role:
        return np.asarray(
            raw[field.name]
            .astype("object")
            .map({str(code): float(code) for code in range(field.highest_event + 1)}),
            dtype=np.float64,
        )
    return cells(raw, field)


def _bars(field: Field, present: np.ndarray, bounded: bool) -> tuple[Bar, ...]:
    if "id" in field.role or not len(present):
        return ()
    if field.type == "category" and "event" not in field.role:
        counts = np.bincount(present.astype(np.int64), minlength=len(field.categories))
        return tuple(Bar(label, int(n)) for label, n in zip(field.categories, counts, strict=True))
    if field.type == "bool" or "event" in field.role:
        highest = field.highest_event if "event" in field.role else 1
        return tuple(Bar(str(code), int((present == code).sum())) for code in range(highest + 1))
    low, high = field.bounds if bounded else (0.0, float(np.quantile(present, 0.99)) or 1.0)
    edges = np.linspace(low, high, BARS + 1)
    counts, _ = np.histogram(np.clip(present, low, high), bins=edges)
    return tuple(
        Bar(f"{a:.4g} to {b:.4g}", int(n)) for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
    )

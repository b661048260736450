"""The cells of one column in the type that the dictionary declares.

A million rows take a second or two: numbers are parsed in one go and only what is left over is looked at as text,
categories are looked at once for each distinct text.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from privacy.patients.field import Field

ALWAYS_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})
TRUE_TEXTS = frozenset({"1", "true", "yes", "t", "y"})
FALSE_TEXTS = frozenset({"0", "false", "no", "f", "n"})


@dataclass(frozen=True, slots=True, repr=False)
class ParsedCells:
    """One column; it never prints, its cells are patients'.

    Attributes:
        typed: float64 for numbers and bools, categorical for categories, text for an id; NaN where missing or wrong.
        missing: number of cells that say that there is no value.
        wrong: texts of the cells that are neither missing nor of the type.
    """

    typed: pd.Series
    missing: int
    wrong: pd.Series


def parse_cells(field: Field, cells: pd.Series) -> ParsedCells:
    """The column `cells` as `field` declares it."""
    if "id" in field.role:
        texts = _texts(cells)
        return ParsedCells(texts, int(texts.str.lower().isin(ALWAYS_MISSING).sum()), texts.iloc[:0])
    return _numbers(field, cells) if field.is_number else _labels(field, cells)


def _numbers(field: Field, cells: pd.Series) -> ParsedCells:
    if cells.dtype.kind in "mM":
        # pandas would turn dates into nanoseconds since 1970.
        cells = _texts(cells)
    typed = pd.to_numeric(cells, errors="coerce").astype(np.float64)
    codes = _codes(field)
    coded = typed.isin([float(code) for code in codes if _is_number(code)])
    typed = typed.mask(coded | np.isinf(typed))
    rest = _texts(cells[typed.isna() & ~coded])
    absent = rest.str.lower().isin(ALWAYS_MISSING) | rest.isin(codes)
    wrong = rest[~absent]
    if field.type == "int" and wrong.empty:
        wrong = _texts(cells[typed.notna() & (typed != np.floor(typed))])
    return ParsedCells(typed, int(coded.sum() + absent.sum()), wrong)


def _labels(field: Field, cells: pd.Series) -> ParsedCells:
    position, found = pd.factorize(cells.astype(object).where(cells.notna(), ""))
    texts = _texts(pd.Series(found, dtype=object))
    # Software that once saw an empty cell exports 1 as 1.0.
    texts = texts.where(texts.isin(field.categories), texts.str.replace(r"^(-?\d+)\.0+$", r"\1", regex=True))
    lower = texts.str.lower()
    absent = lower.isin(ALWAYS_MISSING) & ~texts.isin(field.categories) | texts.isin(_codes(field))
    if field.type == "bool":
        values = lower.isin(TRUE_TEXTS).astype(np.float64).mask(absent)
        known = lower.isin(TRUE_TEXTS | FALSE_TEXTS)
        typed = pd.Series(values.to_numpy()[position], index=cells.index)
    else:
        labels = pd.Categorical(texts.mask(absent), categories=list(field.categories))
        known = texts.isin(field.categories)
        typed = pd.Series(
            pd.Categorical.from_codes(labels.codes[position], dtype=labels.dtype), index=cells.index
        )
    wrong = (~known & ~absent).to_numpy()[position]
    return ParsedCells(typed, int(absent.to_numpy()[position].sum()), texts.take(position[wrong]))


def _texts(cells: pd.Series) -> pd.Series:
    return cells.astype(object).where(cells.notna(), "").astype(str).str.strip()


def _codes(field: Field) -> tuple[str, ...]:
    return field.missing.codes if field.missing is not None else ()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True

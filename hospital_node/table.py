"""A hospital's table, from CSV or Parquet, checked against the study's dictionary.

Whatever is wrong is said in one sentence that names the column, the rule and about how many rows, and never a
patient's value: not in the message, not in a chained exception. Therefore nothing here is raised inside an `except`
block (Python would keep the library's exception, with values in its text, as `__context__`), and a column name is only
repeated when it is certain that the first line holds names and not the first patient.
"""

import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from hospital_node.cells import parse_cells
from hospital_node.row_rules import Violation, first_violation
from privacy.dictionary import Dictionary
from privacy.field import Field
from privacy.refusals import nearest

# Outliers are a few; a wrong unit moves most of a column.
CLIP_SHARE = 0.05

# What a Parquet column may hold beside single values; an array is what pandas makes of a list.
NOT_CELLS = (bytes, bytearray, list, tuple, set, dict, np.ndarray)

_DECIMAL_COMMA = re.compile(r"^[+-]?\d{1,15}(\.\d{3})*,\d+$")
_DATE = re.compile(r"^\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}([ T].*)?$")


class DataError(Exception):
    """A table that does not fit the study's dictionary; the message holds no patient's value.

    Attributes:
        where: file name.
        column: declared column, empty where the whole file is meant.
        problem: what is wrong and what to do.
        exit_code: 2, bad input.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, where: str, column: str, problem: str) -> None:
        """Message: "where: column 'x': problem"."""
        super().__init__(f"{where}: column '{column}' {problem}" if column else f"{where}: {problem}")
        self.where = where
        self.column = column
        self.problem = problem


def read_table(
    path: Path, dictionary: Dictionary, *, drop_undeclared: bool = False, clip_share: float = CLIP_SHARE
) -> pd.DataFrame:
    """The patients of one hospital, one row each, columns in the dictionary's order.

    Args:
        path: `.csv` (UTF-8, comma, decimal point, names in the first line) or `.parquet`.
        dictionary: what is allowed.
        drop_undeclared: leave columns out that the dictionary does not name, instead of refusing the table.
        clip_share: share of a column's rows that may lie outside its bounds and count as the bound (a public clip,
            which costs no privacy); more looks like a mistaken unit and is refused. 0 refuses the first.

    Returns:
        numbers and bools as float64 (NaN where missing), categories as pandas categoricals, the id as text.

    Raises:
        DataError: the table cannot be read or does not fit.
    """
    return _read(path, dictionary, dictionary.fields, drop_undeclared, clip_share)


def read_covariates(path: Path, dictionary: Dictionary) -> pd.DataFrame:
    """As `read_table`, only the model's columns: new patients for a prediction. Other columns are left out."""
    return _read(path, dictionary, dictionary.covariates, drop_undeclared=True, clip_share=1.0)


def _read(
    path: Path, dictionary: Dictionary, fields: Iterable[Field], drop_undeclared: bool, clip_share: float
) -> pd.DataFrame:
    fields = tuple(fields)
    raw = _load(path)
    _check_header(path.name, list(raw.columns), dictionary, fields, drop_undeclared)
    if raw.empty:
        raise DataError(path.name, "", "holds no patient; check the extract")
    columns = {field.name: _typed(path.name, field, raw[field.name]) for field in fields}
    table = pd.DataFrame(columns)
    violation = first_violation(table, fields, clip_share)
    if violation is not None:
        raise _as_error(path.name, violation)
    return _clipped(table, fields)


def _as_error(where: str, violation: Violation) -> DataError:
    return DataError(where, violation.column, f"{violation.rule} {about(violation.rows)}; {violation.remedy}")


def about(rows: int) -> str:
    """A number of rows as a bucket, so that a message never counts single patients."""
    for least in (100_000, 10_000, 1_000, 100, 10):
        if rows >= least:
            return f"in {least:,} rows or more"
    return "in fewer than 10 rows"


def _load(path: Path) -> pd.DataFrame:
    """The file as pandas reads it: a CSV as text throughout."""
    problem = ""
    try:
        with warnings.catch_warnings():
            # Rows longer than the first line are cut with a warning, which would shift a patient's cells.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            match path.suffix.lower():
                case ".csv":
                    return pd.read_csv(
                        path, dtype=str, na_filter=False, encoding="utf-8-sig", index_col=False
                    )
                case ".parquet":
                    return pd.read_parquet(path)
                case _:
                    problem = "is neither .csv nor .parquet; export one of them"
    except UnicodeDecodeError:
        problem = "is not UTF-8; export it again with encoding UTF-8"
    except pd.errors.EmptyDataError:
        problem = "is empty; check the extract"
    except (pd.errors.ParserError, pd.errors.ParserWarning):
        problem = "has rows with more cells than the first line has names; check separators, quotes and decimal commas"
    except OSError as error:
        problem = f"cannot be read: {error.strerror or 'the file is damaged'}"
    except ValueError:
        problem = "cannot be read as a table; export it again"
    raise DataError(path.name, "", problem)


def _check_header(
    where: str, names: list[str], dictionary: Dictionary, fields: tuple[Field, ...], drop_undeclared: bool
) -> None:
    wanted = [field.name for field in fields]
    declared = {field.name for field in dictionary.fields}
    present = [name for name in names if name in declared]
    if not present:
        if len(names) == 1 and any(mark in str(names[0]) for mark in ";\t|"):
            raise DataError(
                where, "", "does not separate its cells by commas; export it as comma separated CSV"
            )
        raise DataError(
            where, "", f"names none of the study's columns in its first line; expected {', '.join(wanted)}"
        )
    repeated = [name for name in wanted if f"{name}.1" in names and f"{name}.1" not in declared]
    if repeated:
        raise DataError(where, repeated[0], "is there twice; keep one")
    unknown = [str(name) for name in names if name not in declared]
    absent = [name for name in wanted if name not in names]
    if absent:
        # A first line that holds every other column holds names, so an unknown one may be repeated.
        hint = _similar(absent[0], unknown) if len(present) >= len(declared) // 2 else ""
        raise DataError(where, absent[0], f"is missing{hint}; add it to the extract")
    if unknown and not drop_undeclared:
        raise DataError(
            where,
            "",
            f"has columns that the study does not declare ({', '.join(sorted(unknown))}); remove them from the extract "
            "or ask for them to be dropped",
        )


def _similar(absent: str, unknown: list[str]) -> str:
    hint = nearest(absent.lower(), [name for name in unknown if name.lower() == absent.lower()] or unknown)
    return (
        f" ({hint.replace('did you mean', 'is it').rstrip('?')}?)" if hint.startswith("did you mean") else ""
    )


def _typed(where: str, field: Field, cells: pd.Series) -> pd.Series:
    """One column in its type; NaN where missing.

    Raises:
        DataError: a cell that is not of the type, or empty where nothing may be missing.
    """
    if cells.dtype.kind == "O" and cells.map(lambda cell: isinstance(cell, NOT_CELLS)).any():
        raise DataError(
            where, field.name, "holds lists, structures or bytes; export single numbers and texts"
        )
    parsed = parse_cells(field, cells)
    if parsed.missing and field.missing is None:
        remedy = "fill them, or declare `missing` in the study" if field.is_covariate else "fill them"
        raise DataError(where, field.name, f"is empty {about(parsed.missing)}; {remedy}")
    if len(parsed.wrong):
        raise DataError(where, field.name, _wrong_cells(field, parsed.wrong))
    return parsed.typed


def _wrong_cells(field: Field, wrong: pd.Series) -> str:
    rows = about(len(wrong))
    if field.type == "category":
        return f"has a category that the study does not list {rows}; recode it or mark it as missing"
    if field.type == "bool":
        return f"is not 0/1, true/false or yes/no {rows}; recode it"
    if wrong.str.match(_DECIMAL_COMMA).any():
        return f"has a decimal comma {rows}; export numbers with a decimal point"
    if wrong.str.match(_DATE).any():
        return f"has a date where a number is declared {rows}; export a number, for a time the days since the start"
    if field.type == "int":
        return f"is not a whole number {rows}; correct the extract"
    return f"is not a number {rows}; correct the extract or declare its code as missing"


def _clipped(table: pd.DataFrame, fields: tuple[Field, ...]) -> pd.DataFrame:
    bounds: Mapping[str, tuple[float, float]] = {
        field.name: field.bounds for field in fields if field.is_number and field.is_covariate
    }
    return table.assign(**{name: table[name].clip(low, high) for name, (low, high) in bounds.items()})

"""A hospital's table, from CSV or Parquet, checked against the study's dictionary.

Whatever is wrong is said in one sentence that names the column, the rule and about how many rows, and never a
patient's value: not in the message, not in a chained exception. A column name is only repeated when it is certain that
the first line holds names and not the first patient. Pieces of the file become numbers at once, so that memory holds
eight bytes a cell (one for most categories), the patient ids only where they are asked for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from hospital_node.extract import pieces, rows_at_most
from hospital_node.findings import DataError as DataError
from hospital_node.findings import Finding, about
from hospital_node.gathered import Gathered
from hospital_node.row_rules import Violation, violations
from privacy.patients.dictionary import Dictionary
from privacy.patients.field import Field
from privacy.studies.refusals import nearest

# Outliers are a few; a wrong unit moves most of a column.
CLIP_SHARE = 0.05
# What a Parquet column may hold beside single values; an array is what pandas makes of a list.
NOT_CELLS = (bytes, bytearray, list, tuple, set, dict, np.ndarray)


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


def _check_single_values(where: str, field: Field, cells: pd.Series) -> None:
    """Refuse what only a Parquet file can hold: cells that are no single value."""
    if cells.dtype.kind == "O" and cells.map(lambda cell: isinstance(cell, NOT_CELLS)).any():
        raise DataError(
            where, field.name, "holds lists, structures or bytes; export single numbers and texts"
        )


@dataclass(frozen=True, slots=True, repr=False)
class Examined:
    """A table and everything that is wrong with it; it never prints.

    Attributes:
        table: typed columns, NaN where missing or wrong; not yet clipped.
        findings: errors only, cells before rules, in the order of the fields.
    """

    table: pd.DataFrame
    findings: tuple[Finding, ...]


def examine(
    path: Path,
    dictionary: Dictionary,
    fields: Iterable[Field],
    *,
    drop_undeclared: bool = False,
    clip_share: float = CLIP_SHARE,
    hashed_ids: bool = False,
) -> Examined:
    """The table with all that is wrong in its columns; arguments as `read_table` takes them.

    Args:
        hashed_ids: keep 64-bit hashes of the patient ids instead of their texts; two different ones among a million
            are taken for the same with probability 3e-8.

    Raises:
        DataError: the file is no table, or its first line does not fit: then nothing else can be said.
    """
    fields = tuple(fields)
    room = rows_at_most(path)
    gathered = {field.name: Gathered(field, room, hashed_ids and "id" in field.role) for field in fields}
    for number, piece in enumerate(pieces(path)):
        if number == 0:
            _check_header(path.name, list(piece.columns), dictionary, fields, drop_undeclared)
        for field in fields:
            _check_single_values(path.name, field, piece[field.name])
            gathered[field.name].add(piece[field.name])
    table = pd.DataFrame({name: column.typed() for name, column in gathered.items()}, copy=False)
    if table.empty:
        raise DataError(path.name, "", "holds no patient; check the extract")
    findings = [finding for column in gathered.values() for finding in column.findings()]
    spoiled = {finding.column for finding in findings}
    sound = [field for field in fields if field.name not in spoiled]
    findings += [_of_violation(found) for found in violations(table, sound, clip_share)]
    return Examined(table, tuple(findings))


def _of_violation(found: Violation) -> Finding:
    return Finding("error", found.column, f"{found.rule} {about(found.rows)}; {found.remedy}")


def _read(
    path: Path, dictionary: Dictionary, fields: Iterable[Field], drop_undeclared: bool, clip_share: float
) -> pd.DataFrame:
    fields = tuple(fields)
    examined = examine(path, dictionary, fields, drop_undeclared=drop_undeclared, clip_share=clip_share)
    if examined.findings:
        first = examined.findings[0]
        raise DataError(path.name, first.column, first.problem)
    return clipped(examined.table, fields)


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
        others = f", as {'is' if len(absent) == 2 else 'are'} {', '.join(absent[1:])}" if absent[1:] else ""
        raise DataError(
            where,
            absent[0],
            f"is missing{hint}{others}; {'rename or ' if hint else ''}add {'them' if others else 'it'} to the extract",
        )
    if unknown and not drop_undeclared:
        raise DataError(
            where,
            "",
            f"has columns that the study does not declare ({', '.join(sorted(unknown))}); remove them from the extract, "
            "or leave them out by --drop-undeclared",
        )


def _similar(absent: str, unknown: list[str]) -> str:
    hint = nearest(absent.lower(), [name for name in unknown if name.lower() == absent.lower()] or unknown)
    return (
        f" ({hint.replace('did you mean', 'is it').rstrip('?')}?)" if hint.startswith("did you mean") else ""
    )


def clipped(table: pd.DataFrame, fields: Iterable[Field]) -> pd.DataFrame:
    """The table with covariates outside their public bounds at the bound; columns without such cells are shared."""
    bounds: Mapping[str, tuple[float, float]] = {
        field.name: field.bounds for field in fields if field.is_number and field.is_covariate
    }
    return pd.DataFrame(
        {str(name): _clipped(table[name], bounds.get(str(name))) for name in table}, copy=False
    )


def _clipped(cells: pd.Series, bounds: tuple[float, float] | None) -> pd.Series:
    if bounds is None or not ((cells < bounds[0]) | (cells > bounds[1])).any():
        return cells
    return cells.clip(*bounds)

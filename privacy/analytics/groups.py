"""Public groups of patients: the levels of a field, and which patients a query is about.

Levels come from the dictionary (categories, yes and no, public cuts), never from the table: which levels occur would be a release.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np

from privacy.patients.field import Field
from privacy.studies.grid import FloatArray, IntArray
from privacy.studies.refusals import StudyError

# What `where` may compare a field with: one of its values, or [from, to) of a number.
Wanted = bool | str | float | tuple[float, float]
Cells = Mapping[str, FloatArray]

MOST_GROUPS = 64
NOBODY = -1


def levels(field: Field) -> tuple[str, ...]:
    """Labels of a field's public levels.

    Raises:
        StudyError: a number without cuts has none.
    """
    if field.type == "category":
        return field.categories
    if field.type == "bool":
        return ("false", "true")
    if not field.cut_points:
        raise StudyError("", f"[analysis] groups by '{field.name}', a number: it needs its public cuts")
    low, high = field.bounds
    return tuple(f"{a:g} to {b:g}" for a, b in pairwise((low, *field.cut_points, high)))


def level_codes(field: Field, values: FloatArray) -> IntArray:
    """The level of each patient, (n,); NOBODY where the value is missing."""
    if field.is_number:
        codes = np.searchsorted(np.asarray(field.cut_points), values, side="right")
    else:
        codes = np.nan_to_num(values, nan=0.0).astype(np.int64)
    return np.where(np.isnan(values), NOBODY, codes).astype(np.int64)


@dataclass(frozen=True, slots=True)
class Groups:
    """The product of the levels of some fields, among the patients that a condition keeps.

    Attributes:
        by: fields whose levels divide the patients; empty for one group of all.
        where: (field, value) pairs that all must hold.
    """

    by: tuple[Field, ...] = ()
    where: tuple[tuple[Field, Wanted], ...] = ()

    def __len__(self) -> int:
        """Number of groups, >= 1."""
        return int(np.prod([len(levels(field)) for field in self.by], dtype=np.int64))

    @property
    def labels(self) -> tuple[dict[str, str], ...]:
        """For each group field name -> level, in the order of the codes."""
        names = [field.name for field in self.by]
        return tuple(
            dict(zip(names, chosen, strict=True)) for chosen in product(*(levels(f) for f in self.by))
        )

    @property
    def condition(self) -> dict[str, object]:
        """The condition as the study file writes it."""
        return {
            field.name: list(wanted) if isinstance(wanted, tuple) else wanted for field, wanted in self.where
        }

    def codes(self, cells: Cells, n: int) -> IntArray:
        """Group of each patient, (n,): 0 to len - 1, or NOBODY for who is in none."""
        code, inside = np.zeros(n, dtype=np.int64), np.ones(n, dtype=bool)
        for field in self.by:
            own = level_codes(field, cells[field.name])
            code = code * len(levels(field)) + own
            inside &= own != NOBODY
        for field, wanted in self.where:
            inside &= _matches(field, wanted, cells[field.name])
        return np.where(inside, code, NOBODY).astype(np.int64)


def _matches(
    field: Field, wanted: Wanted, values: FloatArray
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    if isinstance(wanted, tuple):
        # The upper end of the bounds belongs to the last range that reaches it.
        last = wanted[1] >= field.bounds[1]
        return np.asarray((values >= wanted[0]) & ((values <= wanted[1]) if last else (values < wanted[1])))
    return np.asarray(values == _coded(field, wanted))


def _coded(field: Field, wanted: bool | str | float) -> float:
    if field.type == "category":
        return float(field.categories.index(_label(wanted)))
    return float(wanted)


def _label(wanted: bool | str | float) -> str:
    if isinstance(wanted, bool):
        return "true" if wanted else "false"
    return f"{wanted:g}" if isinstance(wanted, float | int) else wanted


def check_where(field: Field, wanted: Wanted) -> str:
    """What is wrong with a condition, "" where nothing is."""
    told = f"[analysis] where {field.name}"
    if isinstance(wanted, tuple):
        if not field.is_number:
            return f"{told}: [from, to] is for numbers"
        return "" if wanted[0] < wanted[1] else f"{told}: [from, to] needs from below to"
    if field.type == "category":
        known = _label(wanted) in field.categories
        return "" if known else f"{told} = '{wanted}' is not one of its categories"
    if field.type == "bool":
        return "" if isinstance(wanted, bool) else f"{told} is true or false"
    return "" if not isinstance(wanted, bool | str) else f"{told} compares a number; give one, or [from, to]"


def check_groups(by: Sequence[Field]) -> str:
    """What is wrong with a grouping, "" where nothing is."""
    count = len(Groups(tuple(by)))
    if count > MOST_GROUPS:
        return f"[analysis] by {', '.join(f.name for f in by)} makes {count} groups, at most {MOST_GROUPS}"
    return ""

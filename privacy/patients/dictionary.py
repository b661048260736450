"""The data dictionary of a study: all its fields, and how rows become the design matrix.

Everything here is public and written before a record is looked at: bounds, categories, cuts and the constants that
stand in for missing values. So scaling, dummy coding and filling cost no privacy (one patient changes one row).

Every field with the role feature, quasi_identifier or sensitive is a column of the model: a study that does not
need a field must not ask for it. The two latter roles add what the anonymity stage and its report do with it.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator
from pydantic import Field as Setting

from privacy.patients.field import Field as Field
from privacy.patients.field_values import Column as Column
from privacy.patients.field_values import Role
from privacy.studies.refusals import StudyError


class Dictionary(BaseModel):
    """All fields of a study: one time, one event, at most one id and one entry, at least one covariate."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fields: Annotated[tuple[Field, ...], Setting(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        problem = self._problem()
        if problem:
            raise StudyError("", problem)
        return self

    def _problem(self) -> str:
        names = [field.name for field in self.fields]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if doubled:
            return f"field '{doubled[0]}' is declared twice"
        for role, least, most in (("time", 1, 1), ("event", 1, 1), ("id", 0, 1), ("entry", 0, 1)):
            count = sum(role in field.role for field in self.fields)
            if not least <= count <= most:
                return (
                    f"{count} fields have role '{role}'; a study has {'exactly' if least else 'at most'} one"
                )
        if not self.covariates:
            return "no field has role 'feature': there is nothing to learn from"
        columns = self.columns()
        if len(set(columns)) < len(columns):
            return "two columns of the model get the same name; rename a field or a category"
        return ""

    def _one(self, role: Role) -> Field | None:
        return next((field for field in self.fields if role in field.role), None)

    @property
    def id(self) -> Field | None:
        """The patient's identifier in the hospital's table, if there is one."""
        return self._one("id")

    @property
    def time(self) -> Field:
        """Follow-up time."""
        return next(field for field in self.fields if "time" in field.role)

    @property
    def event(self) -> Field:
        """0 for censored, 1 for the event, further codes for competing risks where the field declares them."""
        return next(field for field in self.fields if "event" in field.role)

    @property
    def entry(self) -> Field | None:
        """Time at which observation began (left truncation), if declared."""
        return self._one("entry")

    @property
    def covariates(self) -> tuple[Field, ...]:
        """Fields that become columns of the model."""
        return tuple(field for field in self.fields if field.is_covariate)

    @property
    def quasi_identifiers(self) -> tuple[Field, ...]:
        """Fields by which a neighbor could recognize a patient."""
        return tuple(field for field in self.fields if "quasi_identifier" in field.role)

    @property
    def sensitive(self) -> tuple[Field, ...]:
        """Fields whose diversity within a class is measured beside the outcome's."""
        return tuple(field for field in self.fields if "sensitive" in field.role)

    @cached_property
    def design(self) -> tuple[Column, ...]:
        """Columns of the design matrix, in the order of the fields."""
        return tuple(column for field in self.covariates for column in field.columns)

    def columns(self) -> tuple[str, ...]:
        """Names of the columns of the design matrix."""
        return tuple(column.name for column in self.design)

    @property
    def n_columns(self) -> int:
        """Width d of the design matrix."""
        return len(self.design)

    def unsourced(self) -> tuple[str, ...]:
        """Fields whose bounds name no public source; lint and the PIA say so."""
        return tuple(f.name for f in self.covariates if f.is_number and not f.source.strip())

    def encode(self, cells: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """The design matrix of patients whose cells were checked.

        Args:
            cells: for each covariate an array (n,): numbers, 0/1, or category indices; NaN where missing.

        Returns:
            float64 (n, n_columns), every value in [-1, 1]; values outside the bounds count as the bound.
        """
        n = len(next(iter(cells.values())))
        matrix = np.empty((n, self.n_columns), dtype=np.float64)
        position = 0
        for field in self.covariates:
            raw = np.asarray(cells[field.name], dtype=np.float64)
            absent = np.isnan(raw)
            filled = np.where(absent, field.fill(), raw)
            for column in field.columns:
                matrix[:, position] = _column_values(column, field, filled, absent)
                position += 1
        return matrix


def _column_values(
    column: Column, field: Field, filled: NDArray[np.float64], absent: NDArray[np.bool_]
) -> NDArray[np.float64]:
    match column.kind:
        case "missing":
            values = absent.astype(np.float64)
        case "level":
            values = (filled == column.level).astype(np.float64)
        case "flag":
            values = np.clip(filled, 0.0, 1.0)
        case "scaled":
            clipped = np.clip(filled, *field.bounds)
            on_scale = np.log1p(clipped) if column.log1p else clipped
            # The second clip absorbs the last bit of rounding, so that |x| <= 1 holds exactly.
            values = np.clip((on_scale - column.center) / column.half_range, -1.0, 1.0)
    return np.asarray(values, dtype=np.float64)

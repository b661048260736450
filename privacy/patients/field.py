"""One field of a study's data dictionary: its meaning, its public bounds, and the model columns that it becomes."""

from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictBool, StrictStr, model_validator
from pydantic import Field as Setting

from privacy.patients.field_checks import CHECKS
from privacy.patients.field_values import (
    COVARIATE_ROLES,
    DAYS_PER_UNIT,
    Column,
    FieldType,
    Label,
    Missing,
    Number,
    Role,
    label_of,
    missing_of,
)


class Field(BaseModel):
    """One `[[field]]` of a study file.

    Attributes:
        cuts: public cut points, ascending, strictly inside the bounds: [a, b) intervals; for a category, groups of its
            categories that cover each exactly once. Several levels, the finest first, may be written as a list of such lists.
        coarser: the levels of `cuts` behind the finest, each made of cuts (or unions of groups) of the one before.
        expected: public range in which the middle of the column should lie (a number's median; the share of 1 of a
            bool or event). Only the hospital's own check looks at it, to notice units and codes that were mixed up.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[StrictStr, Setting(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]
    type: FieldType
    role: Annotated[
        tuple[Role, ...], Setting(min_length=1), BeforeValidator(lambda v: (v,) if isinstance(v, str) else v)
    ]
    purpose: Annotated[StrictStr, Setting(min_length=1, pattern=r"\S")]
    unit: StrictStr = ""
    minimum: Number | None = None
    maximum: Number | None = None
    source: StrictStr = ""
    log1p: StrictBool = False
    categories: tuple[Label, ...] = ()
    cuts: tuple[Number, ...] | tuple[tuple[Label, ...], ...] = ()
    coarser: tuple[tuple[Number, ...], ...] | tuple[tuple[tuple[Label, ...], ...], ...] = ()
    missing: Annotated[Missing | None, BeforeValidator(missing_of)] = None
    expected: tuple[Number, Number] | None = None

    @model_validator(mode="before")
    @classmethod
    def _levels_of_cuts(cls, raw: Any) -> Any:
        """Several levels in `cuts` become the finest and the others."""
        if not isinstance(raw, Mapping) or "coarser" in raw:
            return raw
        cuts, depth = raw.get("cuts"), 1 if raw.get("type") in ("float", "int") else 2
        if not isinstance(cuts, list | tuple) or not cuts or any(_depth(one) != depth for one in cuts):
            return raw
        return {**raw, "cuts": cuts[0], "coarser": cuts[1:]}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for check in CHECKS:
            problem = check(self)
            if problem:
                raise ValueError(problem)
        return self

    @property
    def is_covariate(self) -> bool:
        """Whether the field becomes columns of the model."""
        return bool(COVARIATE_ROLES.intersection(self.role))

    @property
    def is_number(self) -> bool:
        """Whether the field is a float or an int."""
        return self.type in ("float", "int")

    @property
    def days_per_unit(self) -> float:
        """Factor from the field's unit to days; for time and entry."""
        return DAYS_PER_UNIT[self.unit.lower()]

    @property
    def highest_event(self) -> int:
        """R, for the event: its codes are 0 (censored), 1 (the event) and above 1 competing risks."""
        if self.type == "category":
            return len(self.categories) - 1
        return 1 if self.maximum is None else int(self.maximum)

    @property
    def group_of_category(self) -> tuple[int, ...]:
        """For each category the number of its group of cuts; its own number where there are no cuts."""
        if not self.cuts:
            return tuple(range(len(self.categories)))
        group = {label: number for number, labels in enumerate(self.category_groups) for label in labels}
        return tuple(group[label] for label in self.categories)

    @property
    def category_groups(self) -> tuple[tuple[str, ...], ...]:
        """The cuts of a category."""
        return tuple(labels for labels in self.cuts if isinstance(labels, tuple))

    @property
    def cut_points(self) -> tuple[float, ...]:
        """The cuts of a number."""
        return tuple(cut for cut in self.cuts if not isinstance(cut, tuple))

    @property
    def levels(self) -> tuple[tuple[Any, ...], ...]:
        """The cuts of every level, the finest first; one level where there is nothing coarser."""
        return (self.cuts, *self.coarser)

    def at_level(self, position: int) -> Self:
        """The field with the cuts of one level alone."""
        return self.model_copy(update={"cuts": self.levels[position], "coarser": ()})

    @property
    def bounds(self) -> tuple[float, float]:
        """Bounds in the field's unit; (0, 1) for a bool; only asked where `_check_bounds` made sure of them."""
        if self.minimum is None or self.maximum is None:
            return (0.0, 1.0)
        return (self.minimum, self.maximum)

    @property
    def columns(self) -> tuple[Column, ...]:
        """The field's columns of the design matrix, in order."""
        made: list[Column] = []
        if self.type == "category":
            made += [
                Column(f"{self.name}={label}", self.name, "level", level)
                for level, label in enumerate(self.categories)
                if level > 0
            ]
        elif self.type == "bool":
            made.append(Column(self.name, self.name, "flag"))
        else:
            low, high = (float(np.log1p(b)) if self.log1p else b for b in self.bounds)
            made.append(
                Column(
                    self.name,
                    self.name,
                    "scaled",
                    center=(low + high) / 2,
                    half_range=(high - low) / 2,
                    log1p=self.log1p,
                )
            )
        if self.missing is not None and self.missing.indicator:
            made.append(Column(f"{self.name}=missing", self.name, "missing"))
        return tuple(made)

    def fill(self) -> float:
        """The number (or category index) that stands in for a missing cell."""
        constant = self.missing.constant if self.missing is not None else None
        if self.type == "category":
            return float(self.categories.index(label_of(constant))) if constant is not None else 0.0
        if constant is not None:
            return float(constant)
        if self.type == "bool":
            return 0.0
        scaled = self.columns[0]
        return float(np.expm1(scaled.center)) if self.log1p else scaled.center


def _depth(cuts: object) -> int:
    """Lists within lists: 0 for a number or label."""
    return 1 + max(map(_depth, cuts), default=0) if isinstance(cuts, list | tuple) else 0

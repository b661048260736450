"""One field of a study's data dictionary: its meaning, its public bounds, and the model columns that it becomes."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictBool, StrictStr, model_validator
from pydantic import Field as Setting

Role = Literal["id", "quasi_identifier", "sensitive", "feature", "time", "event", "entry"]
FieldType = Literal["float", "int", "bool", "category"]
Number = Annotated[float, Setting(strict=True, allow_inf_nan=False)]

COVARIATE_ROLES: frozenset[str] = frozenset({"feature", "quasi_identifier", "sensitive"})
# Most event codes; more is no outcome but some other code.
MOST_EVENTS = 100
DAYS_PER_UNIT = {"": 1.0, "d": 1.0, "day": 1.0, "days": 1.0, "week": 7.0, "weeks": 7.0}
DAYS_PER_UNIT |= {"month": 30.4375, "months": 30.4375, "year": 365.25, "years": 365.25}


def _label(value: Any) -> Any:
    """Category labels are text; TOML authors write 0, 1, 2 as numbers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, float) else value


Label = Annotated[StrictStr, BeforeValidator(_label)]


class Missing(BaseModel):
    """How empty cells of one field are filled, with public constants only.

    Attributes:
        codes: further cell texts that mean "missing"; empty, NA, N/A, NaN, null and None always do.
        constant: a value within the bounds or a category; without it the middle of the (log) bounds, false, or the
            first category.
        indicator: add one 0/1 column that says that the value was missing.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    codes: tuple[Label, ...] = ()
    constant: Number | StrictBool | StrictStr | None = None
    indicator: StrictBool = False


def _missing(value: Any) -> Any:
    """A bare constant or a bare list of codes is short for the table."""
    if isinstance(value, list | tuple):
        return {"codes": value}
    if isinstance(value, int | float | str):
        return {"constant": value}
    return value


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the design matrix: value = (raw - center) / half_range, or 0/1.

    Attributes:
        name: field name, "field=level" or "field=missing".
        field: name of the field that it comes from.
        kind: "scaled", "flag" (0/1), "level" (0/1, category `level` against the first), "missing" (0/1).
        level: index of the category, 0 where it does not apply.
        center: on the scale of the raw value, or of its log1p.
        half_range: > 0, same scale; a coefficient per scaled unit divided by it is one per (log1p) unit.
        log1p: the raw value goes through log(1 + x) first.
    """

    name: str
    field: str
    kind: Literal["scaled", "flag", "level", "missing"]
    level: int = 0
    center: float = 0.0
    half_range: float = 1.0
    log1p: bool = False


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
    missing: Annotated[Missing | None, BeforeValidator(_missing)] = None
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
            return float(self.categories.index(_label(constant))) if constant is not None else 0.0
        if constant is not None:
            return float(constant)
        if self.type == "bool":
            return 0.0
        scaled = self.columns[0]
        return float(np.expm1(scaled.center)) if self.log1p else scaled.center


def _check_roles(field: Field) -> str:
    roles = set(field.role)
    if len(roles) != len(field.role):
        return "a role is listed twice"
    single = roles - COVARIATE_ROLES
    if single and len(roles) > 1:
        return f"role '{sorted(single)[0]}' excludes other roles"
    if roles & {"time", "entry"}:
        if not field.is_number:
            return "a time is of type 'float' or 'int'"
        if field.unit.lower() not in DAYS_PER_UNIT:
            return f"the unit of a time is days, weeks, months or years, not '{field.unit}'"
    if "event" in roles and field.type == "float":
        return "the event is of type 'bool', 'int' or 'category' with 0 for censored and 1 for the event"
    return _event_problem(field) if "event" in roles else ""


def _event_problem(field: Field) -> str:
    """The codes are 0 for censored, 1 for the event, and without a gap 2..R for competing risks."""
    if field.type == "category":
        listed = tuple(str(code) for code in range(len(field.categories)))
        if len(listed) < 2 or field.categories != listed:
            return 'an event of type "category" has categories = ["0", "1"]: censored, event; competing risks follow as "2", "3"'
    low, high = field.minimum, field.maximum
    if low not in (None, 0) or (high is not None and (high < 1 or high > MOST_EVENTS or high != int(high))):
        return f"the codes of an event are minimum = 0 to maximum = R, a whole number from 1 to {MOST_EVENTS}"
    return ""


def _check_bounds(field: Field) -> str:
    low, high = field.minimum, field.maximum
    if (
        not field.is_number
        and (low is not None or high is not None or field.log1p)
        and "event" not in field.role
    ):
        return f"minimum, maximum and log1p are for numbers, not for type '{field.type}'"
    if field.is_covariate and field.is_number and (low is None or high is None):
        return "a number in the model needs minimum and maximum, public bounds with their source"
    if low is not None and high is not None and not low < high:
        return "minimum must be below maximum"
    if field.log1p and (low is None or low <= -1):
        return "log1p needs a minimum above -1"
    return ""


def _check_categories(field: Field) -> str:
    if field.type != "category":
        return "categories are for type 'category'" if field.categories else ""
    if "id" in field.role:
        return "" if not field.categories else "a patient id has no list of categories"
    if len(field.categories) < 2:
        return "a category needs its closed list: categories = [...] with at least two"
    return "a category is listed twice" if len(set(field.categories)) < len(field.categories) else ""


def _check_cuts(field: Field) -> str:
    if not field.cuts:
        return ""
    grouped = [isinstance(cut, tuple) for cut in field.cuts]
    if field.type == "category":
        if not all(grouped):
            return 'the cuts of a category are groups, as in cuts = [["a", "b"], ["c"]]'
        listed = [label for labels in field.category_groups for label in labels]
        return (
            "" if sorted(listed) == sorted(field.categories) else "cuts must list every category exactly once"
        )
    if field.type == "bool" or any(grouped):
        return "cuts are ascending numbers for type 'float' or 'int', or groups of categories"
    points = field.cut_points
    if any(b <= a for a, b in pairwise(points)):
        return "cuts must ascend"
    low, high = field.bounds
    return "" if low < points[0] and points[-1] <= high else "cuts must lie between minimum and maximum"


def _check_levels(field: Field) -> str:
    for finer, coarse in pairwise(field.levels):
        problem = _check_cuts(field.model_copy(update={"cuts": coarse, "coarser": ()})) if coarse else "empty"
        if problem:
            return f"a coarser level of cuts is not usable: {problem}"
        if not _is_coarser(field, finer, coarse):
            return "each level of cuts is made of the one before: leave cuts out, or join groups"
    return ""


def _is_coarser(field: Field, finer: tuple[Any, ...], coarse: tuple[Any, ...]) -> bool:
    if field.is_number:
        return set(coarse) < set(finer)
    joined = [{*group} for group in coarse]
    return len(coarse) < len(finer) and all(any({*group} <= union for union in joined) for group in finer)


def _depth(cuts: object) -> int:
    """Lists within lists: 0 for a number or label."""
    return 1 + max(map(_depth, cuts), default=0) if isinstance(cuts, list | tuple) else 0


def _check_missing(field: Field) -> str:
    if field.missing is None:
        return ""
    if not field.is_covariate:
        return "only columns of the model may have missing cells"
    constant = field.missing.constant
    if constant is None:
        return ""
    if field.type == "category":
        return (
            "" if _label(constant) in field.categories else "the constant for missing cells is not a category"
        )
    if isinstance(constant, str):
        return "the constant for missing cells is not a number"
    low, high = field.bounds
    return "" if low <= constant <= high else "the constant for missing cells is outside minimum and maximum"


def _check_expected(field: Field) -> str:
    if field.expected is None:
        return ""
    low, high = field.expected
    if not field.is_number and field.type != "bool" and "event" not in field.role:
        return "expected is for numbers, bools and the event"
    if low >= high:
        return "expected is [low, high] with low below high"
    if (field.type == "bool" or "event" in field.role) and not 0 <= low < high <= 1:
        return "expected of a bool or event is a share of the patients, within 0 and 1"
    return ""


CHECKS = (
    _check_roles,
    _check_bounds,
    _check_categories,
    _check_cuts,
    _check_levels,
    _check_missing,
    _check_expected,
)

"""What a field's settings may be, how empty cells are filled, and the columns that a field becomes."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictBool, StrictStr
from pydantic import Field as Setting

Role = Literal["id", "quasi_identifier", "sensitive", "feature", "time", "event", "entry"]


FieldType = Literal["float", "int", "bool", "category"]


Number = Annotated[float, Setting(strict=True, allow_inf_nan=False)]


COVARIATE_ROLES: frozenset[str] = frozenset({"feature", "quasi_identifier", "sensitive"})


# Most event codes; more is no outcome but some other code.
MOST_EVENTS = 100


DAYS_PER_UNIT = {"": 1.0, "d": 1.0, "day": 1.0, "days": 1.0, "week": 7.0, "weeks": 7.0}
DAYS_PER_UNIT |= {"month": 30.4375, "months": 30.4375, "year": 365.25, "years": 365.25}


def label_of(value: Any) -> Any:
    """Category labels are text; TOML authors write 0, 1, 2 as numbers."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value) if isinstance(value, float) else value


Label = Annotated[StrictStr, BeforeValidator(label_of)]


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


def missing_of(value: Any) -> Any:
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

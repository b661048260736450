"""What a field's settings must be together, one check each: "" or what is wrong."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from privacy.patients.field_values import COVARIATE_ROLES, DAYS_PER_UNIT, MOST_EVENTS, label_of

if TYPE_CHECKING:
    from privacy.patients.field import Field


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
            ""
            if label_of(constant) in field.categories
            else "the constant for missing cells is not a category"
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

"""Values of FHIR Observations: a number in the declared unit, or a category."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hospital_node.sources.facts import Request
from hospital_node.sources.fhir_resources import codes_of, spoken_code, table, text
from hospital_node.sources.units import scale_for, spoken

_UCUM = "http://unitsofmeasure.org"
_VALUE = re.compile(
    "value(Quantity|CodeableConcept|String|Boolean|Integer|Range|Ratio|SampledData|Time|DateTime|Period|Attachment|Reference)"
)


class Unusable(Exception):
    """A part of a resource that cannot be used; whoever knows the line says where.

    Attributes:
        path: FHIR path of the part.
        problem: what is wrong and what to do.
    """

    def __init__(self, path: str, problem: str) -> None:
        """Keep both."""
        super().__init__(f"{path}: {problem}")
        self.path = path
        self.problem = problem


def number_of(part: Mapping[str, Any], path: str, request: Request) -> float:
    """The number in the declared unit; NaN where there is none, or where its comparator leaves it out.

    Args:
        part: an Observation or one of its components.
        path: of the part.
        request: its unit, conversions and rule on comparators.

    Raises:
        Unusable: a value that is no number, a comparator, or a unit without a conversion.
    """
    key = _value_key(part)
    if not key:
        return np.nan
    if key not in ("valueQuantity", "valueInteger"):
        raise Unusable(
            f"{path}.{key}", f"is no number, which {request.name} takes; correct it, or leave its code out"
        )
    quantity = {"value": part[key]} if key == "valueInteger" else table(part[key])
    if "value" not in quantity:
        return np.nan
    value = quantity["value"]
    if not isinstance(value, int | float) or isinstance(value, bool) or not np.isfinite(value):
        raise Unusable(f"{path}.{key}.value", "is no number; correct the export")
    if quantity.get("comparator"):
        if request.comparator == "drop":
            return np.nan
        if request.comparator == "refuse":
            raise Unusable(
                f"{path}.{key}.comparator",
                f"says less or more than a number; say comparator = 'as_value' or 'drop' in {request.name}",
            )
    found = _unit_texts(quantity)
    scale = scale_for(found, request.unit, request.convert)
    if scale is None:
        raise Unusable(
            f"{path}.{key}",
            f"has {spoken(found)}, for which {request.name} declares no conversion; add it to convert (declared unit: '{request.unit}')",
        )
    return float(value) * scale.factor + scale.offset


def label_of(part: Mapping[str, Any], path: str, request: Request) -> int:
    """Position of the category of a coded value; -1 where there is none.

    Raises:
        Unusable: no coded value, one of two categories, or one that neither value_map nor other covers.
    """
    key = _value_key(part)
    if not key:
        return -1
    codes = codes_of(part[key]) if key == "valueCodeableConcept" else []
    if not codes:
        raise Unusable(
            f"{path}.{key}",
            f"is no coded value, which {request.name} takes; correct it, or leave its code out",
        )
    labels = {request.value_labels[code] for code in codes if code in request.value_labels}
    if len(labels) > 1:
        raise Unusable(
            f"{path}.{key}",
            f"is two categories of {request.name} at once; decide in value_map which codes count",
        )
    if labels:
        return labels.pop()
    if request.other is None:
        raise Unusable(
            f"{path}.{key}",
            f"has {spoken_code(codes[0])}, which {request.name} does not list in value_map; add it, or say other",
        )
    return request.other


def _value_key(part: Mapping[str, Any]) -> str:
    """ "valueQuantity" or another value[x] of FHIR: no other key of the data may reach a message."""
    return next((key for key in sorted(part) if _VALUE.fullmatch(key) and part[key] is not None), "")


def _unit_texts(quantity: Mapping[str, Any]) -> tuple[str, ...]:
    """The UCUM code where there is one, else the unit as written, else another system's code."""
    code, unit = text(quantity.get("code")), text(quantity.get("unit"))
    chosen = code if code and quantity.get("system") == _UCUM else unit or code
    return (chosen,) if chosen else ()

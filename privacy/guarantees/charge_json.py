"""Entries of plan and ledger as JSON objects: name and kind, then the fields of the record; nothing more, nothing less."""

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from privacy.guarantees.plan_error import PlanError

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    class NamedCharge(DataclassInstance, Protocol):
        """A frozen dataclass of numbers and text whose class says its name and kind."""

        name: ClassVar[str]
        kind: ClassVar[Any]


def charge_json(charge: "NamedCharge") -> dict[str, object]:
    """All fields by name, kind and name; a tuple as a list."""
    values = {field.name: getattr(charge, field.name) for field in fields(charge)}
    lists = {key: list(value) for key, value in values.items() if isinstance(value, tuple)}
    return {"name": charge.name, "kind": charge.kind} | values | lists


def charge_fields(charge: "type[NamedCharge]", body: Mapping[str, object], what: str) -> dict[str, Any]:
    """The fields in an object that `charge_json` wrote, integers where a float is meant as floats.

    Args:
        charge: the class; its fields are float, int, str, or tuple[float, ...].
        body: the object.
        what: the charge in words, for the message.

    Raises:
        PlanError: a key is missing, unknown or of the wrong type, or name and kind are another's.
    """
    types: dict[str, Any] = {field.name: field.type for field in fields(charge)}
    named = body.keys() == {"name", "kind", *types} and (body["name"], body["kind"]) == (
        charge.name,
        charge.kind,
    )
    if not named or not all(_fits(body[key], type_) for key, type_ in types.items()):
        raise PlanError(charge.name, f"keys or types are not those of {what}: {sorted(map(str, body))}")
    return {key: _as(type_, body[key]) for key, type_ in types.items()}


def _fits(value: object, type_: object) -> bool:
    """Whether JSON may hold a field of this type so. To Python true and false are integers; they are no numbers here."""
    if type_ == tuple[float, ...]:
        return isinstance(value, list) and all(_fits(number, float) for number in value)
    if isinstance(value, bool):
        return False
    return isinstance(value, float | int if type_ is float else int if type_ is int else str)


def _as(type_: object, value: Any) -> Any:
    if type_ is float:
        return float(value)
    return tuple(map(float, value)) if isinstance(value, list) else value

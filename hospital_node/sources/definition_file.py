"""Reads a cohort definition; whatever is wrong with it is one sentence with a remedy."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ValidationError

from hospital_node.sources.definition import (
    ConceptSet,
    Criterion,
    Definition,
    Entry,
    FlatField,
    FollowUp,
    Index,
    Outcome,
    Scale,
    Source,
)
from privacy.studies.refusals import nearest

MAX_BYTES = 1 << 20
_TABLES: dict[str, type[BaseModel]] = {
    "source": Source,
    "concepts": ConceptSet,
    "index": Index,
    "include": Criterion,
    "exclude": Criterion,
    "entry": Entry,
    "follow_up": FollowUp,
    "outcome": Outcome,
    "field": FlatField,
}


class DefinitionError(Exception):
    """A cohort definition that cannot be used.

    Attributes:
        where: file name and place in it.
        problem: what is wrong and what to do.
        exit_code: 2, bad input.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, where: str, problem: str) -> None:
        """Message: "where: problem"."""
        super().__init__(f"{where}: {problem}")
        self.where = where
        self.problem = problem


def load_definition(path: Path) -> Definition:
    """The definition in the file at `path`.

    Raises:
        DefinitionError: not readable, an unknown key, a wrong value, parts that contradict each other.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DefinitionError(str(path), f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise DefinitionError(path.name, "is larger than 1 MiB, so it is no cohort definition")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DefinitionError(path.name, f"is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    return parse_definition(text, path.name)


def parse_definition(toml_text: str, where: str) -> Definition:
    """As `load_definition`, from the text."""
    try:
        raw = tomllib.loads(toml_text)
    except tomllib.TOMLDecodeError as error:
        raise DefinitionError(where, f"not valid TOML: {error}") from None
    try:
        return Definition.model_validate(raw)
    except ValidationError as error:
        problem = _problem(error, raw, where)
    raise problem


def _problem(error: ValidationError, raw: Mapping[str, Any], where: str) -> DefinitionError:
    """A mistyped key explains the one that it leaves missing, so it comes first."""
    found = error.errors(include_url=False, include_input=False)
    details = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
    location = details["loc"]
    place = _place(location, raw)
    return DefinitionError(f"{where}: {place}" if place else where, _sentence(details, location))


def _place(location: Sequence[int | str], raw: Mapping[str, Any]) -> str:
    if len(location) < 2:
        return ""
    top, second = location[0], location[1]
    if top == "concepts":
        return f"[concepts.{second}]"
    if not isinstance(second, int):
        return f"[{top}]"
    try:
        return f"{top} '{raw[str(top)][second]['name']}'"
    except (KeyError, TypeError, IndexError):
        return f"[[{top}]] {second + 1}"


def _sentence(details: Mapping[str, Any], location: Sequence[int | str]) -> str:
    key = str(location[-1]) if location else ""
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key '{key}'; {nearest(key, _known(location))}"
        case "missing" if len(location) == 1:
            listed = key in ("outcome", "field")
            return f"the section {'[[' if listed else '['}{key}{']]' if listed else ']'} is missing"
        case "missing":
            return f"'{key}' is missing"
        case "value_error":
            return str(details["ctx"]["error"])
        case "literal_error":
            return f"{_named(location)} must be {details['ctx']['expected']}"
        case _:
            message = str(details["msg"])
            return f"{_named(location)}: {message[:1].lower()}{message[1:]}"


def _named(location: Sequence[int | str]) -> str:
    """The key in the file; a list's position and the names of a union's branches help nobody."""
    words = [part for part in location[1:] if isinstance(part, str)]
    models: tuple[type[BaseModel], ...] = (*_TABLES.values(), Scale)
    known = {key for model in models for key in _keys(model)}
    return next((word for word in reversed(words) if word in known), words[-1] if words else str(location[0]))


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _known(location: Sequence[int | str]) -> list[str]:
    if len(location) == 1:
        return list(_TABLES)
    return _keys(Scale) if "convert" in location[2:-1] else _keys(_TABLES[str(location[0])])

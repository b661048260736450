"""Turn pydantic's report about a study file into one sentence with a remedy."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from privacy.studies.refusals import StudyError, nearest
from privacy.studies.study_sections import Query

Location = Sequence[int | str]


def first_problem(
    error: ValidationError, raw: Mapping[str, Any], sections: Mapping[str, type[BaseModel]], where: str
) -> StudyError:
    """The sentence for the problem that explains most: a mistyped key before the key that it leaves missing.

    Args:
        error: what pydantic found.
        raw: the parsed file, read only to name the field of a `[[field]]`.
        sections: section name -> its model.
        where: file name.
    """
    found = error.errors(include_url=False, include_input=False)
    details = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
    location: Location = details["loc"]
    place = _place(location, raw)
    return StudyError(f"{where}: {place}" if place else where, _sentence(details, location, sections))


def _place(location: Location, raw: Mapping[str, Any]) -> str:
    """ "[model]", "field 'age'", "[[field]] 3", or nothing for the top of the file."""
    if not location or len(location) == 1:
        return ""
    if location[0] != "field":
        return f"[{location[0]}]"
    number = location[1]
    try:
        return f"field {raw['field'][number]['name']!r}"
    except (KeyError, TypeError, IndexError):
        return f"[[field]] {int(number) + 1}"


def _key(location: Location) -> str:
    inner = location[2:] if location and location[0] == "field" else location[1:]
    # pydantic appends the name of a union's branch, which is no key of the file.
    named = [
        str(part)
        for part in inner
        if not str(part).startswith(("tuple[", "constrained-", "function-", "float", "bool", "str"))
    ]
    # A list's position helps nobody who reads the file's one line.
    return _one_line(".".join(part for part in named if not part.isdigit()))


def _one_line(key: str) -> str:
    """A key as it is written in the file, line breaks spelled out: an answer is one sentence."""
    return key.encode("unicode_escape").decode() if not key.isprintable() else key


def _sentence(details: Mapping[str, Any], location: Location, sections: Mapping[str, type[BaseModel]]) -> str:
    match details["type"]:
        case "extra_forbidden":
            return f"unknown key '{_one_line(str(location[-1]))}'; {nearest(str(location[-1]), _known_keys(location, sections))}"
        case "missing":
            missing = str(location[-1])
            if len(location) == 1:
                return f"the section {'[[field]]' if missing == 'field' else f'[{missing}]'} is missing"
            return f"'{missing}' is missing"
        case "value_error":
            return str(details["ctx"]["error"])
        case "literal_error":
            return f"{_key(location)} must be {details['ctx']['expected']}"
        case _:
            return f"{_key(location) or location[0]} {_plain(str(details['msg']))}"


def _plain(message: str) -> str:
    message = message.replace("a valid tuple", "a list").replace("a valid dictionary", "a table")
    for pydantics, ours in (
        ("Input should be", "must be"),
        ("Input should match", "must match"),
        ("String should", "must"),
        ("Tuple should", "must"),
        ("Field required", "is missing"),
    ):
        if message.startswith(pydantics):
            return ours + message.removeprefix(pydantics)
    return f"is not usable: {message}"


def _known_keys(location: Location, sections: Mapping[str, type[BaseModel]]) -> list[str]:
    if len(location) == 1:
        return list(sections)
    if location[0] == "field" and "missing" in location[2:-1]:
        return ["codes", "constant", "indicator"]
    if location[0] == "analysis" and "query" in location[1:-1]:
        return list(Query.model_fields)
    return list(sections[str(location[0])].model_fields)

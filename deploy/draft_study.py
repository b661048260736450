"""A commented study file from the first line of a table: names and types, never a value.

Types are guessed from whether all cells of a column read as numbers, whole numbers or yes/no. No bound, category, cut or
count is taken from the cells: those are public decisions, and a bound read off the data is a patient's value.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pandas as pd

from hospital_node.cells import ALWAYS_MISSING, FALSE_TEXTS, TRUE_TEXTS
from hospital_node.extract import pieces
from hospital_node.findings import DataError

_ROLES = {
    "id": ("id", "pid", "patient", "patient_id", "subject", "subject_id", "mrn"),
    "time": ("time", "days", "duration", "followup", "follow_up", "futime", "survival_time", "os_days"),
    "event": ("event", "status", "dead", "death", "cens", "died"),
}
_TRUTHS = TRUE_TEXTS | FALSE_TEXTS

_HEAD = """# A draft. Every line that says "decide" needs a public answer, agreed before anybody looks at patients' values.
# Names and types come from {origin}; no value of a patient is in this file.

[study]
id = {identifier}
title = ""
purpose = ""            # decide: one sentence; hospitals' policies compare it letter by letter
# duo = "DUO:0000006"   # the purpose as a code, where hospitals ask their consent register
available = {available}   # what hospitals could give: the assessment lists it against what is used
horizon_days = {horizon_days}     # decide: follow-up is censored here for everybody
intervals = 10
n_public = {{a = 1000, b = 1000, c = 1000}}   # decide: declared before extraction, never a row count

[cohort]
hospitals = ["a", "b", "c"]

[privacy]
mode = "local"
epsilon = 3

[stage]
kind = "none"           # "generalize", "drop", "threshold" and "level" need a field with role "quasi_identifier" and its public cuts

[model]
family = "piecewise_exponential"
"""


def draft(path: Path) -> str:
    """The text of a study file for the table at `path`.

    Raises:
        DataError: the file is no table, or has no header.
    """
    kinds = _kinds(path)
    if any(_is_value(name) for name in kinds):
        # Without a header the first patient's values would become names.
        problem = (
            "the first line holds numbers or dates where names of columns belong; export it with a header"
        )
        raise DataError(path.name, "", problem)
    roles = _guessed_roles(kinds)
    return study_head(path.stem, kinds, "the first line and the form of the cells") + "".join(
        "\n" + "\n".join(_field(name, kind, roles.get(name, "feature"))) + "\n"
        for name, kind in kinds.items()
    )


def study_head(name: str, columns: Iterable[str], origin: str, horizon_days: int = 1825) -> str:
    """Everything above the fields.

    Args:
        name: becomes the study's id, as far as an id may hold it.
        columns: what hospitals could give.
        origin: where names and types come from, in words.
        horizon_days: a first guess.
    """
    available = f"[{', '.join(map(quoted, columns))}]"
    return _HEAD.format(
        identifier=quoted(_identifier(name)), available=available, origin=origin, horizon_days=horizon_days
    )


def _kinds(path: Path) -> dict[str, str]:
    """float, int, bool or category for each column; what is empty throughout is a category."""
    able: dict[str, set[str]] = {}
    filled: Counter[str] = Counter()
    for piece in pieces(path):
        for name in piece.columns:
            texts = piece[name].astype(object).where(piece[name].notna(), "").astype(str).str.strip()
            texts = texts[~texts.str.lower().isin(ALWAYS_MISSING)]
            filled[str(name)] += len(texts)
            able.setdefault(str(name), {"bool", "int", "float"}).intersection_update(_reads_as(texts))
    order = ("bool", "int", "float")
    return {
        name: next((kind for kind in order if kind in kinds), "category") if filled[name] else "category"
        for name, kinds in able.items()
    }


def _is_value(name: str) -> bool:
    """Whether the name of a column looks like a cell: a number or a date."""
    digits = name.strip().replace("-", "").replace("/", "").replace(".", "").replace(",", "").replace(":", "")
    return digits.isdigit() or not digits


def _reads_as(texts: pd.Series) -> set[str]:
    numbers = pd.to_numeric(texts, errors="coerce")
    found = set()
    if texts.str.lower().isin(_TRUTHS).all():
        found.add("bool")
    if numbers.notna().all():
        found.add("float")
        if (numbers == numbers.round()).all():
            found.add("int")
    return found


def _guessed_roles(kinds: dict[str, str]) -> dict[str, str]:
    """One column each for id, time and event, by its name; everything else is a feature."""
    found: dict[str, str] = {}
    for role, words in _ROLES.items():
        for word in words:
            fits = [name for name in kinds if name.lower() == word and name not in found]
            if fits:
                found[fits[0]] = role
                break
    return found


def _field(name: str, kind: str, role: str) -> Iterator[str]:
    yield "[[field]]"
    yield f"name = {quoted(name)}"
    match role:
        case "id":
            yield 'type = "category"'
        case "event":
            yield f'type = "{kind if kind in ("bool", "int") else "int"}"   # 0 censored, 1 event'
        case "time":
            yield 'type = "float"'
        case _:
            yield f'type = "{kind}"'
    yield f'role = "{role}"' + (
        '   # or "quasi_identifier", "sensitive", "id", "time", "event", "entry"' if role == "feature" else ""
    )
    # A study has a time and an event, so those two cannot be deleted.
    way_out = "" if role in ("time", "event") else "; without a reason, delete the field"
    yield f'purpose = "decide: why the study needs this column{way_out}"'
    if role == "time":
        yield 'unit = "days"   # or weeks, months, years'
    elif role == "feature" and kind in ("int", "float"):
        yield 'unit = ""'
        yield "minimum = 0     # decide: public bounds, never the data's own smallest and largest value"
        yield "maximum = 1     # decide"
        yield 'source = ""     # decide: where the bounds come from'
        yield "# log1p = true  # for values that spread over powers of ten"
        yield "# missing = {codes = [], indicator = true}"
    elif role == "feature" and kind == "category":
        yield 'categories = ["decide", "the closed list"]   # from the protocol or a code system'


def quoted(text: str) -> str:
    """A TOML basic string."""
    escaped = "".join(
        f"\\u{ord(c):04x}" if ord(c) < 32 or ord(c) == 127 else c
        for c in text.replace("\\", "\\\\").replace('"', '\\"')
    )
    return f'"{escaped}"'


def _identifier(stem: str) -> str:
    cleaned = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in stem).lstrip("._-")
    return cleaned[:64] or "study"

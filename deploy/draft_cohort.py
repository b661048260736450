"""A commented study file from a cohort definition: names and types only; no record is read, so no value can be in it."""

from collections.abc import Iterator

from deploy.draft_study import quoted, study_head
from hospital_node.sources.definition import Definition, FlatField


def draft_cohort(definition: Definition, name: str) -> str:
    """The text of a study file for the flat table of a definition.

    Args:
        definition: checked.
        name: becomes the study's id, as far as an id may hold it.
    """
    horizon = definition.follow_up.maximum_days or 1825
    fields = "".join("\n" + "\n".join(_lines(field, definition)) + "\n" for field in definition.field)
    columns = [field.name for field in definition.field]
    return study_head(name, columns, "a cohort definition", horizon) + fields


# What the columns that are no records hold.
_MEANING = {
    "id": "the patient's id in the source; it never leaves the hospital",
    "time": "days from the index event to the end of follow-up",
    "event": "what ended follow-up",
    "entry": "days from the index event to the start of observation",
    "age": "completed years at the index event",
    "gender": "administrative gender, from the patient's own entry",
    "race": "from the patient's own entry",
    "ethnicity": "from the patient's own entry",
}


def _lines(field: FlatField, definition: Definition) -> Iterator[str]:
    yield f"# {_origin(field)}"
    yield "[[field]]"
    yield f"name = {quoted(field.name)}"
    role = field.source if field.source in ("id", "time", "event", "entry") else "feature"
    yield f'type = "{field.type}"' + (f"   # {_event_codes(definition)}" if role == "event" else "")
    yield f'role = "{role}"' + ('   # or "quasi_identifier", "sensitive"' if role == "feature" else "")
    # Without time, event or entry the rest would mean something else.
    way_out = "" if role in ("time", "event", "entry") else "; without a reason, delete the field"
    yield f'purpose = "decide: why the study needs this column{way_out}"'
    highest = max(outcome.code for outcome in definition.outcome)
    if role in ("time", "entry"):
        yield 'unit = "days"'
    elif role == "event" and highest > 1:
        yield f"maximum = {highest}     # competing risks; no model takes them yet, `data check` does"
    elif field.source == "age":
        yield from _age_bounds(definition)
    elif field.type in ("float", "int") and role == "feature":
        yield f"unit = {quoted(field.unit or '')}"
        yield "minimum = 0     # decide: public bounds, never the data's own smallest and largest value"
        yield "maximum = 1     # decide"
        yield 'source = ""     # decide: where the bounds come from'
        yield "# log1p = true  # for values that spread over powers of ten"
    elif field.type == "category" and role == "feature":
        listed = field.categories if len(field.categories) > 1 else (*field.categories, "decide: another one")
        yield f"categories = [{', '.join(map(quoted, listed))}]"
    if role == "feature" and field.take not in ("any", "count"):
        yield f"missing = {{indicator = true}}   # {_who_is_without(field)}"


def _age_bounds(definition: Definition) -> Iterator[str]:
    """The ages that the definition lets in are public; without them those of people."""
    low, high = definition.index.minimum_age, definition.index.maximum_age
    asked = "asked for by [index] of the cohort definition"
    yield 'unit = "years"'
    yield f"minimum = {0 if low is None else low}     # {'decide' if low is None else asked}"
    yield f"maximum = {120 if high is None else high}     # {'decide' if high is None else asked}"
    yield 'source = ""     # decide: where the bounds come from'


def _event_codes(definition: Definition) -> str:
    named = {
        outcome.code: outcome.name or ("death" if outcome.death else ", ".join(outcome.concepts))
        for outcome in reversed(definition.outcome)
    }
    return "0 censored, " + ", ".join(f"{code} {named[code]}" for code in sorted(named))


def _origin(field: FlatField) -> str:
    """Where the column comes from, in words."""
    if not field.is_windowed or field.window is None:
        return _MEANING[field.source]
    first, last = field.window
    when = f"days {first} to {last} (0 is the day of the index event)"
    codes = ", ".join(field.concepts) or "the codes of map"
    match field.take:
        case "any":
            return f"whether there is a {field.source} record of {codes}, {when}"
        case "count":
            return f"number of {field.source} records of {codes}, {when}"
        case _:
            return f"{field.take} {field.source} of {codes}, {when}"


def _who_is_without(field: FlatField) -> str:
    """Whose cell is empty, in words."""
    if field.is_windowed:
        return "patients without a record in the window"
    if field.source == "age":
        return "patients without a date of birth"
    unlisted = ", or with one that `map` does not list" if field.other == "" else ""
    return f"patients without a recorded {field.source}{unlisted}"

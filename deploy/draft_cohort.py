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


def _lines(field: FlatField, definition: Definition) -> Iterator[str]:
    yield "[[field]]"
    yield f"name = {quoted(field.name)}"
    role = field.source if field.source in ("id", "time", "event") else "feature"
    yield f'type = "{field.type}"' + (f"   # {_event_codes(definition)}" if role == "event" else "")
    yield f'role = "{role}"' + ('   # or "quasi_identifier", "sensitive"' if role == "feature" else "")
    yield f'purpose = "decide: why the study needs this column; without a reason, delete the field"   # {_origin(field)}'
    highest = max(outcome.code for outcome in definition.outcome)
    if role == "time":
        yield 'unit = "days"'
    elif role == "event" and highest > 1:
        yield f"maximum = {highest}     # competing risks; no model takes them yet, `data check` does"
    elif field.type in ("float", "int") and role == "feature":
        yield f"unit = {quoted(_unit(field))}"
        yield "minimum = 0     # decide: public bounds, never the data's own smallest and largest value"
        yield f"maximum = {120 if field.source == 'age' else 1}     # decide"
        yield 'source = ""     # decide: where the bounds come from'
        yield "# log1p = true  # for values that spread over powers of ten"
    elif field.type == "category" and role == "feature":
        listed = field.categories if len(field.categories) > 1 else (*field.categories, "decide: another one")
        yield f"categories = [{', '.join(map(quoted, listed))}]"
    if role == "feature" and field.take not in ("any", "count"):
        yield "missing = {indicator = true}   # patients without a record in the window"


def _event_codes(definition: Definition) -> str:
    named = {
        outcome.code: outcome.name or ("death" if outcome.death else ", ".join(outcome.concepts))
        for outcome in reversed(definition.outcome)
    }
    return "0 censored, " + ", ".join(f"{code} {named[code]}" for code in sorted(named))


def _origin(field: FlatField) -> str:
    if not field.is_windowed or field.window is None:
        return f"from {field.source}"
    first, last = field.window
    return f"{field.take} of {', '.join(field.concepts) or 'mapped codes'} ({field.source}), days {first} to {last}"


def _unit(field: FlatField) -> str:
    return "years" if field.source == "age" else field.unit or ""

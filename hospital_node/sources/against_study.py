"""Whether the flat table of a definition will fit a study's dictionary: said before any record is read."""

from hospital_node.sources.definition import Definition, FlatField
from hospital_node.sources.definition_file import DefinitionError
from privacy.patients.field import Field
from privacy.studies.refusals import nearest
from privacy.studies.study import Study

# What the table writes -> what the study may declare.
_FITS = {
    "float": ("float",),
    "int": ("int", "float"),
    "bool": ("bool", "int", "float"),
    "category": ("category",),
}


def check_against(definition: Definition, study: Study, where: str) -> None:
    """Compare names, types, units, categories and event codes.

    Raises:
        DefinitionError: the first thing that does not fit.
    """
    declared = {field.name: field for field in study.dictionary.fields}
    defined = {field.name for field in definition.field}
    for name in declared:
        if name not in defined:
            raise DefinitionError(
                where, f"has no field '{name}', which the study declares; {nearest(name, defined)}"
            )
    for field in definition.field:
        if field.name not in declared:
            raise DefinitionError(
                f"{where}: field '{field.name}'", f"is not in the study; {nearest(field.name, declared)}"
            )
        problem = _problem(field, declared[field.name], definition)
        if problem:
            raise DefinitionError(f"{where}: field '{field.name}'", problem)


def _problem(field: FlatField, declared: Field, definition: Definition) -> str:
    for role in ("id", "time", "event", "entry"):
        if (role in declared.role) != (field.source == role):
            return f"has from = '{field.source}' and the study's role {', '.join(declared.role)}; make them agree"
    if field.source in ("time", "entry"):
        same = declared.days_per_unit == 1.0
        return "" if same else f"is in days; the study declares {declared.unit}"
    if field.source == "event":
        codes = {outcome.code for outcome in definition.outcome}
        most = declared.highest_event
        return (
            ""
            if max(codes) <= most
            else f"has event codes up to {max(codes)}; the study declares codes 0 to {most}"
        )
    if declared.type not in _FITS[field.type]:
        return f"is written as {field.type}; the study declares {declared.type}"
    if field.unit is not None and declared.unit and field.unit != declared.unit:
        return f"has unit '{field.unit}'; the study declares '{declared.unit}'"
    unknown = (
        [label for label in field.categories if label not in declared.categories]
        if declared.categories
        else []
    )
    if unknown:
        return f"maps to '{unknown[0]}', which the study does not list; {nearest(unknown[0], declared.categories)}"
    return ""

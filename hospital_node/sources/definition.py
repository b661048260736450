"""A cohort definition: how one row for each patient is made of an OMOP or FHIR source.

cohort.toml = [source] + [concepts.NAME]... + [index] + [[include]]... + [[exclude]]... + [entry] + [follow_up] + [[outcome]]... + [[field]]...
"""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field as Setting
from pydantic import model_validator

from hospital_node.sources.definition_tables import PERSONAL, VALUED, Name, Table
from hospital_node.sources.definition_tables import ConceptSet as ConceptSet
from hospital_node.sources.definition_tables import Criterion as Criterion
from hospital_node.sources.definition_tables import Domain as Domain
from hospital_node.sources.definition_tables import Entry as Entry
from hospital_node.sources.definition_tables import FlatField as FlatField
from hospital_node.sources.definition_tables import FollowUp as FollowUp
from hospital_node.sources.definition_tables import Index as Index
from hospital_node.sources.definition_tables import Outcome as Outcome
from hospital_node.sources.definition_tables import Scale as Scale
from hospital_node.sources.definition_tables import Source as Source
from privacy.studies.refusals import nearest


class Definition(Table):
    """A checked cohort definition; made by `load_definition`."""

    source: Source
    concepts: dict[Name, ConceptSet]
    index: Index
    include: tuple[Criterion, ...] = ()
    exclude: tuple[Criterion, ...] = ()
    entry: Entry | None = None
    follow_up: FollowUp = FollowUp()
    outcome: Annotated[tuple[Outcome, ...], Setting(min_length=1)]
    field: Annotated[tuple[FlatField, ...], Setting(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for check in (
            _check_sets,
            _check_index,
            _check_entry,
            _check_follow_up,
            _check_outcomes,
            _check_fields,
            _check_uses,
        ):
            problem = check(self)
            if problem:
                raise ValueError(problem)
        return self

    @property
    def is_omop(self) -> bool:
        """Whether codes are OMOP concept ids."""
        return self.source.kind == "omop"

    @property
    def uses_periods(self) -> bool:
        """Whether observation periods bound follow-up: the default of OMOP."""
        return self.is_omop and self.follow_up.observation != "none"

    @property
    def enters_by_periods(self) -> bool:
        """Whether observation periods that begin after the index event are late entries."""
        return self.entry is not None and self.entry.source == "periods"


def _check_sets(definition: Definition) -> str:
    for name, concepts in definition.concepts.items():
        problem = _codes_problem(definition, (*concepts.codes, *concepts.without))
        if problem:
            return f"[concepts.{name}] {problem}"
        if concepts.descendants and not definition.is_omop:
            return f"[concepts.{name}] descendants is for OMOP; a FHIR export has no hierarchy of codes, list them all"
    return ""


def _codes_problem(definition: Definition, codes: tuple[int | str, ...]) -> str:
    for code in codes:
        if definition.is_omop and not ((isinstance(code, int) and code > 0) or str(code).isdigit()):
            return f"lists '{code}'; OMOP codes are concept ids, such as 201826"
        system, _, value = str(code).rpartition("|")
        if not definition.is_omop and not (system and value):
            return f"lists '{code}'; FHIR codes are 'system|code', such as 'http://loinc.org|8480-6'"
    return ""


def _check_index(definition: Definition) -> str:
    index = definition.index
    if index.earliest and index.latest and index.latest < index.earliest:
        return "[index] latest is before earliest"
    if (
        index.minimum_age is not None
        and index.maximum_age is not None
        and index.maximum_age < index.minimum_age
    ):
        return "[index] maximum_age is below minimum_age"
    if index.prior_observation_days and not definition.uses_periods:
        return "[index] prior_observation_days needs observation periods, which only an OMOP source has"
    return ""


def _check_entry(definition: Definition) -> str:
    entry, columns = definition.entry, [f.name for f in definition.field if f.source == "entry"]
    if entry is None:
        missing = "needs the section [entry], which says when a patient comes under observation"
        return f"field '{columns[0]}': from = 'entry' {missing}" if columns else ""
    if not columns:
        return "[entry] needs a [[field]] with from = 'entry': without that column everybody would count as at risk from the index day"
    if entry.source != "periods":
        return "" if entry.concepts else f"[entry] from = '{entry.source}' needs concepts"
    if entry.concepts:
        return "[entry] from = 'periods' takes no concepts"
    if not definition.uses_periods:
        return "[entry] from = 'periods' needs observation periods, which only an OMOP source has and [follow_up] observation = 'none' does without"
    if definition.index.prior_observation_days:
        return "[entry] from = 'periods' is for patients not observed before the index event; [index] prior_observation_days asks for the opposite, remove one"
    return ""


def _check_follow_up(definition: Definition) -> str:
    follow_up = definition.follow_up
    if follow_up.observation == "periods" and not definition.is_omop:
        return "[follow_up] observation = 'periods' needs an OMOP source; a FHIR export has no observation periods"
    if not definition.uses_periods and follow_up.administrative_end is None:
        return "[follow_up] administrative_end is missing: without observation periods nothing else says how long patients were followed"
    dies = any(outcome.death for outcome in definition.outcome)
    if not dies and follow_up.death == "outcome":
        return "no [[outcome]] has death = true: add it with a code of its own (a competing risk), or say [follow_up] death = 'censor'"
    if dies and follow_up.death == "censor":
        return "[follow_up] death = 'censor' contradicts the [[outcome]] with death = true; remove one"
    return ""


def _check_outcomes(definition: Definition) -> str:
    codes = sorted({outcome.code for outcome in definition.outcome})
    if codes != list(range(1, len(codes) + 1)):
        return f"[[outcome]] codes are {codes}; they must be 1 to R without a gap (0 is censored)"
    if sum(outcome.death for outcome in definition.outcome) > 1:
        return "two [[outcome]]s have death = true; keep one"
    for outcome in definition.outcome:
        if outcome.death == bool(outcome.source or outcome.concepts):
            return f"[[outcome]] with code {outcome.code}: give either death = true, or from and concepts"
        if bool(outcome.source) != bool(outcome.concepts):
            return f"[[outcome]] with code {outcome.code}: from and concepts belong together"
    return ""


def _check_fields(definition: Definition) -> str:
    names = [field.name for field in definition.field]
    for name in names:
        if names.count(name) > 1:
            return f"field '{name}' is defined twice"
    for needed in ("time", "event"):
        if sum(field.source == needed for field in definition.field) != 1:
            return f"exactly one [[field]] has from = '{needed}'"
    if sum(field.source == "entry" for field in definition.field) > 1:
        return "two [[field]]s have from = 'entry'; keep one"
    for field in definition.field:
        problem = _field_problem(definition, field)
        if problem:
            return f"field '{field.name}': {problem}"
    return ""


def _field_problem(definition: Definition, field: FlatField) -> str:
    if field.source in ("race", "ethnicity") and not definition.is_omop:
        return f"from = '{field.source}' is for OMOP"
    if field.source in PERSONAL and not field.map:
        return f"from = '{field.source}' needs map, such as {{{'8507' if definition.is_omop else 'male'} = \"m\"}}"
    if not field.is_windowed:
        given = field.concepts or field.take or field.window or field.unit is not None or field.value_map
        if given or (field.map and field.source not in PERSONAL):
            return f"from = '{field.source}' takes no concepts, take, window, unit or map"
        return ""
    if field.take is None or field.window is None:
        return "take (such as 'last') and window (such as [-365, 0]) are needed"
    if bool(field.map) == bool(field.concepts):
        return "give either concepts (names of [concepts.NAME]) or map (code = category)"
    return _value_problem(definition, field)


def _value_problem(definition: Definition, field: FlatField) -> str:
    if field.map and field.value_map:
        return "give either map or value_map"
    if field.map or field.value_map:
        if field.take not in ("first", "last"):
            return f"a category takes 'first' or 'last', not '{field.take}'"
        problem = _codes_problem(definition, tuple(field.map or field.value_map))
        if problem:
            return f"{'map' if field.map else 'value_map'} {problem}"
    if field.map and field.other is not None:
        return "other is for value_map, gender, race and ethnicity: map looks for its own codes alone"
    reads_number = not field.map and not field.value_map and field.take not in ("any", "count")
    if (reads_number or field.value_map) and field.source not in VALUED:
        return f"from = '{field.source}' has no values; take 'any' or 'count', or use map"
    if reads_number and field.unit is None:
        return 'unit is missing (unit = "1" for a number without one)'
    if not reads_number and (field.unit is not None or field.convert):
        return "unit and convert are for numbers"
    return ""


def _check_uses(definition: Definition) -> str:
    """Names of concept sets and windows wherever they are used."""
    uses: list[tuple[str, tuple[str, ...]]] = [("[index]", definition.index.concepts)]
    criteria = (*definition.include, *definition.exclude)
    uses += [(f"criterion '{c.name}'", c.concepts) for c in criteria]
    uses += [(f"[[outcome]] {o.code}", o.concepts) for o in definition.outcome]
    uses += [(f"field '{f.name}'", f.concepts) for f in definition.field if f.is_windowed]
    if definition.entry is not None:
        uses.append(("[entry]", definition.entry.concepts))
    for where, names in uses:
        for name in names:
            if name not in definition.concepts:
                return f"{where}: concepts names '{name}'; {nearest(name, definition.concepts)}"
    windows = [(f"criterion '{c.name}'", c.window) for c in criteria]
    windows += [(f"field '{f.name}'", f.window) for f in definition.field if f.window is not None]
    for where, window in windows:
        if any(b < a for a, b in pairwise(window)):
            return f"{where}: window ends before it starts"
    for criterion in criteria:
        if criterion.reads_value and (criterion.unit is None or criterion.source not in VALUED):
            return f"criterion '{criterion.name}': minimum and maximum need unit, and from = 'measurement' or 'observation'"
    ahead = next((f.name for f in definition.field if f.window is not None and f.window[1] > 0), None)
    if ahead is not None:
        return f"field '{ahead}': window ends after the index day; a covariate from the future would leak the outcome"
    return ""

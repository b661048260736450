"""A cohort definition: how one row for each patient is made of an OMOP or FHIR source; the keys and what each means.

    cohort.toml = [source] + [concepts.NAME]... + [index] + [[include]]... + [[exclude]]... + [follow_up] + [[outcome]]... + [[field]]...

Days are calendar days as the source writes them; the index day is day 0 and a window [a, b] holds both its ends.
"""

from collections.abc import Mapping
from datetime import date
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictBool, StrictInt, StrictStr, model_validator
from pydantic import Field as Setting

Domain = Literal["condition", "drug", "procedure", "measurement", "observation", "visit"]
Kind = Literal["omop", "fhir"]
Take = Literal["last", "first", "max", "min", "mean", "any", "count"]
FHIR_DOMAINS = ("condition", "drug", "measurement", "observation")
VALUED = ("measurement", "observation")
PERSONAL = ("gender", "race", "ethnicity")
Number = Annotated[float, Setting(allow_inf_nan=False)]
Name = Annotated[StrictStr, Setting(min_length=1, max_length=100, pattern=r"^\S(.*\S)?$")]
Days = Annotated[StrictInt, Setting(ge=0, le=40_000)]


class Table(BaseModel):
    """A table of the file; unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


def _one_or_more(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _scale(value: Any) -> Any:
    return {"factor": value} if isinstance(value, int | float) and not isinstance(value, bool) else value


class Scale(Table):
    """value in the declared unit = factor x value as recorded + offset."""

    factor: Number
    offset: Number = 0.0


Names = Annotated[tuple[Name, ...], BeforeValidator(_one_or_more)]
Convert = dict[StrictStr, Annotated[Scale, BeforeValidator(_scale)]]
Window = tuple[StrictInt, StrictInt]


class Source(Table):
    """`[source]`.

    Attributes:
        kind: "omop" (CDM 5.4 tables) or "fhir" (R4 or R5 bulk export).
        partial_dates: what a record dated YYYY or YYYY-MM does: stops the command, counts as the earliest, middle
            (15th, 1 July) or latest day that it can mean, or is left out. A date of birth always takes the middle.
        undated: what a record without any date does: stops the command, or is left out.
        unresolved: what a record of an unknown patient does: stops the command, or is left out.
    """

    kind: Kind
    partial_dates: Literal["refuse", "earliest", "middle", "latest", "drop"] = "refuse"
    undated: Literal["refuse", "drop"] = "refuse"
    unresolved: Literal["refuse", "drop"] = "refuse"


class ConceptSet(Table):
    """`[concepts.NAME]`: codes that mean the same here.

    Attributes:
        codes: OMOP concept ids, or FHIR "system|code".
        descendants: also what concept_ancestor lists below them (OMOP; its default).
        without: codes taken out again, with their descendants where those are in.
    """

    codes: Annotated[tuple[StrictInt | StrictStr, ...], Setting(min_length=1)]
    descendants: StrictBool | None = None
    without: tuple[StrictInt | StrictStr, ...] = ()


class Index(Table):
    """`[index]`: the event at which a patient's time starts.

    Attributes:
        which: "first_ever": the first record of all, and the patient is left out where that one does not qualify;
            "first_qualifying": the first that lies in the dates, the observation and the ages below.
        earliest, latest: calendar days between which it must lie.
        prior_observation_days: days of observation before it (OMOP observation_period).
        minimum_age, maximum_age: completed years on the index day.
    """

    source: Domain = Setting(alias="from")
    concepts: Names
    which: Literal["first_ever", "first_qualifying"] = "first_ever"
    earliest: date | None = None
    latest: date | None = None
    prior_observation_days: Days = 0
    minimum_age: Annotated[StrictInt, Setting(ge=0, le=130)] | None = None
    maximum_age: Annotated[StrictInt, Setting(ge=0, le=130)] | None = None


class Criterion(Table):
    """`[[include]]` or `[[exclude]]`: patients with at least so many records in the window.

    Attributes:
        minimum, maximum: only records whose value, in `unit`, is within them.
    """

    name: Name
    source: Domain = Setting(alias="from")
    concepts: Names
    window: Window
    at_least: Annotated[StrictInt, Setting(ge=1)] = 1
    minimum: Number | None = None
    maximum: Number | None = None
    unit: StrictStr | None = None
    convert: Convert = {}

    @property
    def reads_value(self) -> bool:
        """Whether the records' values count."""
        return self.minimum is not None or self.maximum is not None


class FollowUp(Table):
    """`[follow_up]`: when a patient without an outcome is censored, at the earliest of these.

    Attributes:
        administrative_end: last calendar day that counts.
        maximum_days: days after the index day.
        observation: "periods": the end of the OMOP observation period that holds the index day; "none": nothing.
        death: "outcome": death is one of the [[outcome]]s; "censor": a patient who dies is censored, written down here
            because nothing censors a death silently.
        same_day: a patient whose follow-up ends on the index day: is left out, or counts as half a day.
        deceased_without_date: a patient known to be dead without a date: stops the command, or is left out.
    """

    administrative_end: date | None = None
    maximum_days: Annotated[StrictInt, Setting(ge=1)] | None = None
    observation: Literal["periods", "none"] | None = None
    death: Literal["outcome", "censor"] = "outcome"
    same_day: Literal["leave_out", "half_day"] = "leave_out"
    deceased_without_date: Literal["refuse", "leave_out"] = "refuse"


class Outcome(Table):
    """`[[outcome]]`: what ends follow-up with an event; the first on or after the index day counts.

    Attributes:
        code: 1..R; where two happen on one day, the one listed first in the file counts.
        death: the patient's death; otherwise a record (`from`, `concepts`).
    """

    code: Annotated[StrictInt, Setting(ge=1, le=100)]
    name: StrictStr = ""
    death: StrictBool = False
    source: Domain | None = Setting(default=None, alias="from")
    concepts: Names = ()


class FlatField(Table):
    """`[[field]]`: one column of the flat table.

    Attributes:
        source: "id", "time" (days), "event" (0..R), "age" (completed years at index), "gender", "race", "ethnicity"
            (the latter two OMOP), or where records are looked for.
        concepts: names of concept sets.
        take: of the records in the window. Records of one patient with the same code, moment and value count once
            ("any" and "count" do not look at values); of several at the last (first) moment a number is the mean, a
            category the one that `map` lists first.
        window: days relative to the index day, both included.
        unit: of the number; `convert` maps other units to a factor or {factor, offset}.
        comparator: a value such as "< 5": stops the command, counts as its number, or is left out.
        map: record's code -> category. value_map: coded value -> category. `other`: category of what they do not list
            ("" leaves the cell empty); without it such a record stops the command.
    """

    name: Name
    source: Literal["id", "time", "event", "age", "gender", "race", "ethnicity"] | Domain = Setting(alias="from")
    concepts: Names = ()
    take: Take | None = None
    window: Window | None = None
    unit: StrictStr | None = None
    convert: Convert = {}
    comparator: Literal["refuse", "as_value", "drop"] = "refuse"
    map: dict[StrictStr, Name] = {}
    value_map: dict[StrictStr, Name] = {}
    other: StrictStr | None = None

    @property
    def is_windowed(self) -> bool:
        """Whether records in a window make the column."""
        return self.source not in ("id", "time", "event", "age", *PERSONAL)

    @property
    def type(self) -> Literal["float", "int", "bool", "category"]:
        """As a study's dictionary names it."""
        if self.map or self.value_map or self.source == "id":
            return "category"
        if self.source in ("event", "age") or self.take == "count":
            return "int"
        return "bool" if self.take == "any" else "float"

    @property
    def categories(self) -> tuple[str, ...]:
        """In the order of the file, each once; `other` last."""
        listed = [*(self.map or self.value_map).values(), *([self.other] if self.other else [])]
        return tuple(dict.fromkeys(listed))


class Definition(Table):
    """A checked cohort definition; made by `load_definition`."""

    source: Source
    concepts: dict[Name, ConceptSet]
    index: Index
    include: tuple[Criterion, ...] = ()
    exclude: tuple[Criterion, ...] = ()
    follow_up: FollowUp = FollowUp()
    outcome: Annotated[tuple[Outcome, ...], Setting(min_length=1)]
    field: Annotated[tuple[FlatField, ...], Setting(min_length=1, max_length=1000)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for check in (_check_sets, _check_index, _check_follow_up, _check_outcomes, _check_fields, _check_uses):
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
        if definition.is_omop and not (isinstance(code, int) and code > 0 or str(code).isdigit()):
            return f"lists '{code}'; OMOP codes are concept ids, such as 201826"
        system, _, value = str(code).rpartition("|")
        if not definition.is_omop and not (system and value):
            return f"lists '{code}'; FHIR codes are 'system|code', such as 'http://loinc.org|8480-6'"
    return ""


def _check_index(definition: Definition) -> str:
    index = definition.index
    if index.earliest and index.latest and index.latest < index.earliest:
        return "[index] latest is before earliest"
    if index.minimum_age is not None and index.maximum_age is not None and index.maximum_age < index.minimum_age:
        return "[index] maximum_age is below minimum_age"
    if index.prior_observation_days and not definition.uses_periods:
        return "[index] prior_observation_days needs observation periods, which only an OMOP source has"
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
        if given or field.map and field.source not in PERSONAL:
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
        return "unit is missing (unit = \"1\" for a number without one)"
    if not reads_number and (field.unit is not None or field.convert):
        return "unit and convert are for numbers"
    return ""


def _check_uses(definition: Definition) -> str:
    """Names of concept sets, domains and windows wherever they are used."""
    uses: list[tuple[str, str, tuple[str, ...]]] = [("[index]", definition.index.source, definition.index.concepts)]
    criteria = (*definition.include, *definition.exclude)
    uses += [(f"criterion '{c.name}'", c.source, c.concepts) for c in criteria]
    uses += [(f"[[outcome]] {o.code}", o.source, o.concepts) for o in definition.outcome if o.source is not None]
    uses += [(f"field '{f.name}'", f.source, f.concepts) for f in definition.field if f.is_windowed]
    for where, domain, names in uses:
        if not definition.is_omop and domain not in FHIR_DOMAINS:
            return f"{where}: from = '{domain}' is for OMOP; of a FHIR export are read {', '.join(FHIR_DOMAINS)}"
        for name in names:
            if name not in definition.concepts:
                return f"{where}: concepts names '{name}'; {_nearest(name, definition.concepts)}"
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


def _nearest(name: str, known: Mapping[str, ConceptSet]) -> str:
    from privacy.refusals import nearest

    return nearest(name, known)

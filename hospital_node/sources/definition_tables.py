"""The tables of a cohort definition as written: keys, types and what each means (what they mean together: definition.py).

Days are calendar days as the source writes them; the index day is day 0 and a window [a, b] holds both its ends.
"""

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, StrictBool, StrictInt, StrictStr
from pydantic import Field as Setting

Domain = Literal["condition", "drug", "procedure", "measurement", "observation", "visit"]
# One Literal each, no union: a wrong word is then answered with all the right ones.
Begin = Literal["periods", "condition", "drug", "procedure", "measurement", "observation", "visit"]
Personal = Literal["id", "time", "event", "entry", "age", "gender", "race", "ethnicity"]
Origin = Literal[Personal, Domain]
Kind = Literal["omop", "fhir"]
Take = Literal["last", "first", "max", "min", "mean", "any", "count"]
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


class Entry(Table):
    """`[entry]`: late entry. Time counts from the index day, and a patient is at risk only from the day found here.

    Whose outcome, death or end of follow-up comes before that day is left out: nobody would have been seen with it.

    Attributes:
        source: "periods": the start of the OMOP observation period, where the index event lies before it (a diagnosis
            from elsewhere); otherwise where the record is looked for with which observation begins.
        concepts: of that record; the first on or after the index day counts, and who has none is left out.
    """

    source: Begin = Setting(alias="from")
    concepts: Names = ()


class FollowUp(Table):
    """`[follow_up]`: when a patient without an outcome is censored, at the earliest of these.

    Attributes:
        administrative_end: last calendar day that counts.
        maximum_days: days after the index day.
        observation: "periods": the end of the OMOP observation period that holds the index day; "none": nothing.
        death: "outcome": death is one of the [[outcome]]s; "censor": a patient who dies is censored, written down here
            because nothing censors a death silently.
        same_day: a patient whose follow-up ends on the day it begins: is left out, or counts as half a day.
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
        source: "id", "time" (days), "event" (0..R), "entry" (days, see [entry]), "age" (completed years at index),
            "gender", "race", "ethnicity" (the latter two OMOP), or where records are looked for.
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
    source: Origin = Setting(alias="from")
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
        return self.source not in ("id", "time", "event", "entry", "age", *PERSONAL)

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

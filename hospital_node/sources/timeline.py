"""Who is in the cohort, when each one's time starts and ends, and with what: index event, criteria, follow-up, outcome.

Follow-up of a patient runs from the index day, or from a later entry, to the earliest of administrative end, maximum,
end of observation and death. Time counts from the index day in both cases. An outcome counts on its own day up to and
including that end, and before a censoring of the same day; of two on one day the one listed first in the file. Whose
time ends before the entry is left out, a first outcome before it included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hospital_node.findings import bucket
from hospital_node.sources.dates import day_number
from hospital_node.sources.definition import Criterion, Definition, FollowUp
from hospital_node.sources.facts import (
    NEVER,
    Ints,
    People,
    Records,
    SourceError,
    criterion_name,
    outcome_name,
)
from hospital_node.sources.periods import period_of

Mask = NDArray[np.bool_]
HALF_A_DAY = 0.5


@dataclass(frozen=True, slots=True)
class Step:
    """Patients left after one rule; shown as a bucket alone.

    Attributes:
        rule: in words. patients: how many are left.
    """

    rule: str
    patients: int


@dataclass(frozen=True, slots=True, repr=False)
class Timeline:
    """m patients of the cohort; never prints.

    Attributes:
        person: (m,) positions among the source's people, ascending.
        index_day: (m,) days since 1970-01-01.
        time: (m,) days, > 0. event: (m,) 0 censored, 1..R.
        entry: (m,) days from which the patient is at risk, in [0, time); 0 throughout without [entry].
        age: (m,) completed years at index, NaN where the birth is unknown.
        steps: how the cohort shrank.
        notes: sentences for the data manager.
    """

    person: Ints
    index_day: Ints
    time: NDArray[np.float64]
    event: Ints
    entry: NDArray[np.float64]
    age: NDArray[np.float64]
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def timeline(definition: Definition, records: Records) -> Timeline:
    """The cohort of a source.

    Raises:
        SourceError: nobody is left, or somebody died on an unknown day and the definition does not say what then.
    """
    people, steps = records.people, [Step("in the source", len(records.people))]
    starts, entries, period_end = _index_days(definition, records, steps)
    for kind, criteria in (("include", definition.include), ("exclude", definition.exclude)):
        for number, criterion in enumerate(criteria):
            meets = _meets(criterion, records.facts[criterion_name(kind, number, criterion)], starts)
            starts = np.where(meets == (kind == "include"), starts, NEVER)
            steps.append(Step(f"{kind} '{criterion.name}'", int((starts != NEVER).sum())))
    if definition.entry is not None and not definition.enters_by_periods:
        entries = first_from(records.facts["entry"], starts)
        starts = np.where(entries != NEVER, starts, NEVER)
        steps.append(Step("with the record that begins observation", int((starts != NEVER).sum())))
    person = np.flatnonzero(starts != NEVER)
    index = starts[person]
    end = _planned_end(definition.follow_up, index)
    death = people.death_day[person]
    late = int(((death > period_end[person]) & (death <= end)).sum())
    notes = (f"{bucket(late)} patients died after the end of their observation: they are censored there",)
    end = np.minimum(np.minimum(end, period_end[person]), death)
    event, last = _outcome(definition, records, person, index, end)
    time = (last - index).astype(np.float64)
    entry = np.maximum(entries[person] - index, 0).astype(np.float64)
    kept = time >= entry if definition.follow_up.same_day == "half_day" else time > entry
    began = "index day" if definition.entry is None else "entry"
    steps.append(Step(f"followed after the {began}", int(kept.sum())))
    if not kept.any():
        raise SourceError(
            "cohort", f"nobody is left after the rule '{_emptied(steps)}'; check codes, dates and windows"
        )
    time = np.where(time == entry, time + HALF_A_DAY, time)
    age = years_between(people.birth_day[person], index)
    return Timeline(
        person[kept],
        index[kept],
        time[kept],
        event[kept],
        entry[kept],
        age[kept],
        tuple(steps),
        notes if late else (),
    )


def _emptied(steps: Sequence[Step]) -> str:
    return next(step.rule for step in steps if step.patients == 0)


def _index_days(definition: Definition, records: Records, steps: list[Step]) -> tuple[Ints, Ints, Ints]:
    """(n,) index day, start of being at risk, and end of the observation period; NEVER without."""
    rule, people = definition.index, records.people
    found = records.facts["index"][["person", "day"]].drop_duplicates().sort_values(["person", "day"])
    if rule.which == "first_ever":
        found = found.drop_duplicates("person")
    person, day = found["person"].to_numpy(), found["day"].to_numpy()
    keep = np.ones(len(found), dtype=bool)

    def narrow(holds: Mask, words: str) -> None:
        nonlocal keep
        keep = keep & holds
        steps.append(Step(words, len(np.unique(person[keep]))))

    narrow(keep, "with an index event")
    if rule.earliest is not None or rule.latest is not None:
        narrow(_between(day, rule.earliest, rule.latest), "index event between earliest and latest")
    start, period_end = day, np.full(len(found), NEVER, dtype=np.int64)
    if people.periods is not None:
        later = definition.enters_by_periods
        start, period_end = period_of(people.periods, person, day, later=later)
        narrow(start != NEVER, f"under observation at {'or after ' if later else ''}the index event")
        if rule.prior_observation_days:
            narrow(day - np.minimum(start, day) >= rule.prior_observation_days, "observed long enough before")
    if rule.minimum_age is not None or rule.maximum_age is not None:
        age = years_between(people.birth_day[person], day)
        low = -np.inf if rule.minimum_age is None else rule.minimum_age
        high = np.inf if rule.maximum_age is None else rule.maximum_age
        narrow((age >= low) & (age <= high), "of the ages asked for")
    narrow(_dated(people, definition.follow_up, person[keep])[person], "with a known day of death, if any")
    narrow(people.death_day[person] >= day, "alive at the index event")
    found = pd.DataFrame({"person": person, "day": day, "start": np.maximum(start, day), "end": period_end})
    chosen = found[keep].drop_duplicates("person")
    starts, entries, ends = (np.full(len(people), NEVER, dtype=np.int64) for _ in range(3))
    starts[chosen["person"]], ends[chosen["person"]] = chosen["day"], chosen["end"]
    entries[chosen["person"]] = chosen["start"]
    return starts, entries, ends


def _between(day: Ints, earliest: date | None, latest: date | None) -> Mask:
    low = day_number(earliest) if earliest is not None else -NEVER
    high = day_number(latest) if latest is not None else NEVER
    return (day >= low) & (day <= high)


def _dated(people: People, follow_up: FollowUp, asked: Ints) -> Mask:
    """(n,) false for who is dead nobody knows since when."""
    unknown = int(people.dead_undated[np.unique(asked)].sum())
    if unknown and follow_up.deceased_without_date == "refuse":
        raise SourceError(
            "cohort",
            f"{bucket(unknown)} patients are known to be dead without a date; find the dates, or say [follow_up] deceased_without_date = 'leave_out'",
        )
    return ~people.dead_undated


def _meets(criterion: Criterion, facts: pd.DataFrame, starts: Ints) -> Mask:
    """(n,) whether enough records lie in the window."""
    if criterion.reads_value:
        low = -np.inf if criterion.minimum is None else criterion.minimum
        high = np.inf if criterion.maximum is None else criterion.maximum
        facts = facts[facts["number"].between(low, high)]
    inside = in_window(facts, starts, criterion.window)
    return np.bincount(facts["person"][inside], minlength=len(starts)) >= criterion.at_least


def in_window(facts: pd.DataFrame, starts: Ints, window: tuple[int, int]) -> Mask:
    """Which records lie in the window of their person's index day.

    Args:
        facts: with columns person and day.
        starts: (n,) index days, NEVER for who is not in the cohort.
    """
    start = starts[facts["person"].to_numpy()]
    there = start != NEVER
    delta = np.where(there, facts["day"].to_numpy() - np.where(there, start, 0), 0)
    return np.asarray(there & (delta >= window[0]) & (delta <= window[1]))


def _planned_end(rule: FollowUp, index: Ints) -> Ints:
    """End by the definition alone; NEVER where it sets none."""
    end = np.full(len(index), NEVER, dtype=np.int64)
    if rule.administrative_end is not None:
        end = np.minimum(end, day_number(rule.administrative_end))
    if rule.maximum_days is not None:
        end = np.minimum(end, index + rule.maximum_days)
    return end


def first_from(facts: pd.DataFrame, starts: Ints) -> Ints:
    """(n,) day of each person's first record on or after the start; NEVER without one.

    Args:
        facts: with columns person and day.
        starts: (n,) days, NEVER for who is not in the cohort.
    """
    own, day = facts["person"].to_numpy(), facts["day"].to_numpy()
    counts = day >= starts[own]
    first = np.full(len(starts), NEVER, dtype=np.int64)
    np.minimum.at(first, own[counts], day[counts])
    return first


def _outcome(
    definition: Definition, records: Records, person: Ints, index: Ints, end: Ints
) -> tuple[Ints, Ints]:
    """Event codes and last days, (m,)."""
    event, last = np.zeros(len(person), dtype=np.int64), end.copy()
    best = np.full(len(person), NEVER, dtype=np.int64)
    starts = np.full(len(records.people), NEVER, dtype=np.int64)
    starts[person] = index
    for number, outcome in enumerate(definition.outcome):
        if outcome.death:
            first = records.people.death_day
        else:
            first = first_from(records.facts[outcome_name(number)], starts)
        day = first[person]
        wins = (day <= end) & (day < best)
        event, last, best = (
            np.where(wins, outcome.code, event),
            np.where(wins, day, last),
            np.where(wins, day, best),
        )
    return event, last


def years_between(birth: Ints, day: Ints) -> NDArray[np.float64]:
    """Completed years, (m,); NaN where the birth is NEVER. A birthday of 29 February is kept on 1 March."""
    known = birth != NEVER
    born, then = (np.where(known, d, 0).astype("datetime64[D]") for d in (birth, day))
    years = then.astype("datetime64[Y]").astype(np.int64) - born.astype("datetime64[Y]").astype(np.int64)
    before = _month_and_day(then) < _month_and_day(born)
    return np.where(known, (years - before).astype(np.float64), np.nan)


def _month_and_day(days: NDArray[np.datetime64]) -> Ints:
    months = days.astype("datetime64[M]")
    return np.asarray(
        (months.astype(np.int64) % 12) * 100 + (days - months.astype("datetime64[D]")).astype(np.int64)
    )

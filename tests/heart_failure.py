"""Patients with heart failure for the sources' tests: one population, which `omop_fixture` and `fhir_fixture` write down, each with the flaws of its kind.

Everybody has some of everything, at days that meet at the edges of the windows in both fixtures' cohort definitions.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

# What every flat table of these fixtures begins with.
ID_TIME_EVENT = """[[field]]
name = "pid"
from = "id"
[[field]]
name = "days"
from = "time"
[[field]]
name = "event"
from = "event"
"""
# (what, share of the patients, days after the index event)
CONDITIONS: tuple[tuple[str, float, tuple[int, ...]], ...] = (
    ("heart failure", 0.4, (-500, 5, 20, 90)),
    ("stroke", 0.6, (-40, -30, 0, 1, 30, 300, 400, 1500, 1501)),
    ("stroke", 0.4, (-50, 0, 2)),
    ("diabetes", 0.5, (-3001, -3000, -2001, -2000, -10, 0, 1)),
    ("cancer", 0.15, (-300, 0)),
    ("another", 0.5, (-1,)),
)
DRUGS = ("metformin", "insulin")


@dataclass(frozen=True, slots=True)
class Pressure:
    """A systolic blood pressure in mmHg; `kpa` where the hospital wrote it down in kPa."""

    day: date
    mmhg: int
    kpa: bool


@dataclass(frozen=True, slots=True)
class Patient:
    """One patient.

    Attributes:
        number: from 1.
        born: the day.
        born_known: how much of it the hospital knows, "year", "month" or "day".
        sex: "male", "female" or "unknown".
        index: day of the first heart failure that the population is built around.
        died: the day; None where the patient lived on.
        conditions: (what, day), the index event first.
        drugs: (one of `DRUGS`, day).
        smoking: (whether, day it was asked); None where nobody asked.
    """

    number: int
    born: date
    born_known: str
    sex: str
    index: date
    died: date | None
    conditions: tuple[tuple[str, date], ...]
    pressures: tuple[Pressure, ...]
    drugs: tuple[tuple[str, date], ...]
    smoking: tuple[bool, date] | None


def patients(n: int, seed: int) -> tuple[Patient, ...]:
    """The first n of the population that `seed` draws."""
    rng = random.Random(seed)
    return tuple(_patient(number, rng) for number in range(1, n + 1))


def _patient(number: int, rng: random.Random) -> Patient:
    index = date(2013, 11, 1) + timedelta(days=rng.randint(0, 2400))

    def near(days: Sequence[int]) -> date:
        return index + timedelta(days=rng.choice(days))

    born = date(rng.randint(1926, 1988), rng.randint(1, 12), rng.randint(1, 28))
    return Patient(
        number,
        # A leap day, older than the oldest that any definition takes.
        date(1920, 2, 29) if rng.random() < 0.1 else born,
        rng.choice(["year", "month", "day"]),
        rng.choice(["male", "female", "unknown"]),
        index,
        near([0, 1, 30, 40, 400, 800]) if rng.random() < 0.5 else None,
        (
            ("heart failure", index),
            *((what, near(days)) for what, share, days in CONDITIONS if rng.random() < share),
        ),
        tuple(
            Pressure(
                near([-400, -366, -365, -100, -30, -1, 0, 0, 1]), rng.randint(85, 200), rng.random() < 0.25
            )
            for _ in range(rng.randint(0, 6))
        ),
        tuple((drug, near([-400, -366, -365, -20, -20, 0, 1])) for drug in DRUGS if rng.random() < 0.6),
        (rng.random() < 0.5, near([-100, -50, 0])) if rng.random() < 0.65 else None,
    )

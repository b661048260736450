"""The patients as arrays: what a model's training loop sees, and nothing else."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from privacy.patients.dictionary import Dictionary
from privacy.patients.field import Field
from privacy.studies.built import check_events

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, repr=False)
class Cohort:
    """n patients; it never prints, every row is one of them.

    Attributes:
        x: (n, d) design matrix, every value in [-1, 1].
        time: (n,) days of follow-up, in (0, horizon].
        event: (n,) 1 where the event happened at `time`, 0 where censored.
        entry: (n,) days at which observation began, in [0, time); None without left truncation. A patient who
            entered after the horizon has exposure 0 throughout.
    """

    x: Floats
    time: Floats
    event: NDArray[np.int64]
    entry: Floats | None = None

    def __len__(self) -> int:
        """Number of patients; stays at the hospital."""
        return len(self.time)

    def select(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Self:
        """The cohort of the chosen patients, in their order."""
        entry = None if self.entry is None else self.entry[chosen]
        return type(self)(self.x[chosen], self.time[chosen], self.event[chosen], entry)

    def exposure(self, times_days: Floats) -> Floats:
        """Share of each interval (t_k-1, t_k] that each patient was at risk, (n, K), in [0, 1].

        Args:
            times_days: (K + 1,) ascending from 0.
        """
        start, end = times_days[:-1], times_days[1:]
        entry = np.zeros(len(self)) if self.entry is None else self.entry
        days = np.minimum(self.time[:, None], end) - np.maximum(entry[:, None], start)
        return np.clip(days / (end - start), 0.0, 1.0)

    def exit_interval(self, times_days: Floats) -> NDArray[np.int64]:
        """Index k in [0, K) of the interval (t_k, t_k+1] in which follow-up ends, (n,)."""
        return exit_interval(self.time, times_days)

    def events(self, times_days: Floats) -> Floats:
        """1 in the interval of the event, 0 elsewhere, (n, K)."""
        y = np.zeros((len(self), len(times_days) - 1))
        y[np.arange(len(self)), self.exit_interval(times_days)] = self.event
        return y


def exit_interval(time: Floats, times_days: Floats) -> NDArray[np.int64]:
    """Index k in [0, K) of the interval (t_k, t_k+1] that holds each time, (n,)."""
    inner = np.searchsorted(times_days, time, side="left").astype(np.int64, copy=False)
    inner -= 1
    return np.clip(inner, 0, len(times_days) - 2, out=inner)


def build_cohort(frame: pd.DataFrame, dictionary: Dictionary, horizon_days: float) -> Cohort:
    """Arrays of a table that `read_table` checked, after the stage.

    Follow-up beyond the horizon is censored there (administrative censoring); an event after it does not count.

    Raises:
        NotBuilt: the study declares competing risks.
    """
    check_events(dictionary)
    time, event = outcome(frame, dictionary, horizon_days)
    entry = None if dictionary.entry is None else days(frame, dictionary.entry)
    return Cohort(
        x=design_matrix(frame, dictionary),
        time=time,
        event=event,
        entry=None if entry is None else np.minimum(entry, time),
    )


def outcome(
    frame: pd.DataFrame, dictionary: Dictionary, horizon_days: float
) -> tuple[Floats, NDArray[np.int64]]:
    """Days of follow-up in (0, horizon] and event codes 0..R at its end, (n,) each; 0 where the horizon came first."""
    time = days(frame, dictionary.time)
    event = frame[dictionary.event.name].to_numpy(dtype=np.float64)
    return np.minimum(time, horizon_days), np.where(time <= horizon_days, event, 0.0).astype(np.int64)


def days(frame: pd.DataFrame, field: Field) -> Floats:
    """A time in days, whatever its unit."""
    cells = np.asarray(frame[field.name], dtype=np.float64)
    return cells if field.days_per_unit == 1.0 else cells * field.days_per_unit


def design_matrix(frame: pd.DataFrame, dictionary: Dictionary) -> Floats:
    """(n, d) from a table with the covariates of `read_table` or `read_covariates`."""
    return dictionary.encode({field.name: cells(frame, field) for field in dictionary.covariates})


def cells(frame: pd.DataFrame, field: Field) -> Floats:
    """One covariate as numbers, (n,): values, 0/1, or category indices; NaN where missing."""
    column = frame[field.name]
    if field.type != "category":
        return np.asarray(column, dtype=np.float64)
    codes = np.asarray(column.cat.codes, dtype=np.float64)
    return np.where(codes < 0, np.nan, codes)

"""Patients as the interval models see them: covariates, time at risk and events per interval."""

from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from privacy.grid import FloatArray, IntArray, event_matrix, exit_interval, exposure
from privacy.life_table import counts


class CohortLike(Protocol):
    """What is needed of a cohort: one row per patient, times already censored at the horizon."""

    @property
    def x(self) -> FloatArray:
        """(n, d) design matrix, values in [-1, 1]."""

    @property
    def time(self) -> FloatArray:
        """(n,) days until exit, > 0."""

    @property
    def event(self) -> IntArray:
        """(n,) 1 for the event, 0 for censored."""

    @property
    def entry(self) -> FloatArray | None:
        """(n,) days until observation starts, or None."""


@dataclass(frozen=True, slots=True, repr=False)
class FollowUp:
    """Patients on a time grid. It never prints: every row is a patient.

    Attributes:
        x: (n, d) design matrix.
        exposure: (n, K) share of each interval at risk, in [0, 1].
        events: (n, K) 1 where the event happened.
    """

    x: FloatArray
    exposure: FloatArray
    events: FloatArray

    @classmethod
    def of(cls, cohort: CohortLike, grid_days: FloatArray) -> Self:
        """Place a cohort on the grid, boundaries (K + 1,) in days."""
        return cls(
            np.asarray(cohort.x, dtype=np.float64),
            exposure(cohort.time, grid_days, cohort.entry),
            event_matrix(cohort.time, cohort.event, grid_days),
        )

    def __len__(self) -> int:
        """Number of patients; a secret of the hospital."""
        return len(self.x)

    def among(self, mask: NDArray[np.bool_]) -> "FollowUp":
        """The patients where `mask`, shape (n,), is true."""
        return FollowUp(self.x[mask], self.exposure[mask], self.events[mask])


def exit_counts(cohort: CohortLike, grid_days: FloatArray) -> IntArray:
    """The life table's histogram, shape (2K,): events by interval, then censorings; one cell per patient."""
    return counts(exit_interval(cohort.time, grid_days), cohort.event, len(grid_days) - 1)

"""Patients as the interval models see them: covariates, time at risk and events per interval."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from privacy.studies.grid import FloatArray, IntArray
from privacy.studies.life_table import counts

if TYPE_CHECKING:
    # The cohort's module brings pandas, which the models do not need.
    from hospital_node.cohort import Cohort


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
    def of(cls, cohort: "Cohort", grid_days: FloatArray) -> Self:
        """Place a cohort on the grid, boundaries (K + 1,) in days."""
        return cls(cohort.x, cohort.exposure(grid_days), cohort.events(grid_days))

    def __len__(self) -> int:
        """Number of patients; a secret of the hospital."""
        return len(self.x)

    def among(self, chosen: NDArray[np.intp] | NDArray[np.bool_]) -> Self:
        """The patients at these places, or where this is true of all n."""
        places = np.flatnonzero(chosen) if chosen.dtype == np.bool_ else chosen
        return type(self)(*(part.take(places, axis=0) for part in (self.x, self.exposure, self.events)))


def exit_counts(cohort: "Cohort", grid_days: FloatArray) -> IntArray:
    """The life table's histogram, shape (2K,): events by interval, then censorings; one cell per patient."""
    return counts(cohort.exit_interval(grid_days), cohort.event, len(grid_days) - 1)

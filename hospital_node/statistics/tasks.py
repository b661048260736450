"""Which rows a task sums over patients: the hospital's side of `privacy.recipes.tasks`."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hospital_node.statistics.newton import centered, hessian_rows, score_rows, weighted_covariates
from hospital_node.statistics.sums import Rows
from hospital_node.statistics.tables import exit_cells, moment_rows, risk_cells
from hospital_node.statistics.trial import arm_rows
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.model import SurvivalModel
from privacy.studies.grid import FloatArray, IntArray
from privacy.studies.training import Training

if TYPE_CHECKING:
    from hospital_node.cohort import Cohort


NOTHING_CARRIED = np.zeros(0)


class UnknownTaskError(ValueError):
    """A task that sums nothing over patients."""


@dataclass(frozen=True, slots=True, repr=False)
class Patients:
    """A hospital's patients as statistics see them; it never prints.

    Attributes:
        follow_up: design matrix, exposure and events on the grid.
        exit_interval: (n,) in [0, K).
        event: (n,) 1 for the event.
    """

    follow_up: FollowUp
    exit_interval: IntArray
    event: IntArray

    @classmethod
    def of(cls, cohort: "Cohort", follow_up: FollowUp, grid_days: FloatArray) -> "Patients":
        """The cohort on the grid."""
        return cls(follow_up, cohort.exit_interval(grid_days), cohort.event)

    def __len__(self) -> int:
        """Number of patients; a secret of the hospital."""
        return len(self.event)


def rows_of(
    task: str,
    model: SurvivalModel,
    training: Training,
    theta: FloatArray,
    patients: Patients,
    carried: FloatArray = NOTHING_CARRIED,
) -> Rows:
    """The rows of a task's sum, asked for by slices of patients.

    Args:
        task: name in `privacy.recipes.tasks`.
        model: the study's.
        training: its settings.
        theta: (dim,) the round's model.
        patients: all of the hospital's.
        carried: numbers behind the model in the order; the columns' center for "newton" with a public curvature.

    Raises:
        UnknownTaskError: no statistic has this name.
    """
    layout = model.layout
    intervals, alpha, scale = layout.intervals, layout.alpha(theta), training.column_scale

    def some(chosen: slice) -> FollowUp:
        everyone = patients.follow_up
        return FollowUp(everyone.x[chosen], everyone.exposure[chosen], everyone.events[chosen])

    def risk(chosen: slice) -> FloatArray:
        return layout.risk(theta, patients.follow_up.x[chosen])

    def exits(chosen: slice) -> tuple[IntArray, IntArray]:
        return patients.exit_interval[chosen], patients.event[chosen]

    match task:
        case "life_table":
            return lambda chosen: exit_cells(*exits(chosen), intervals)
        case "hessian":
            return lambda chosen: hessian_rows(alpha, scale, some(chosen))
        case "newton":
            if not training.column_spread:
                return lambda chosen: score_rows(alpha, risk(chosen), scale, some(chosen))
            # With a public curvature the tilt's coordinate, the last, is not asked for.
            return lambda chosen: score_rows(alpha, risk(chosen), scale, centered(some(chosen), carried))[
                :, :-1
            ]
        case "means":
            return lambda chosen: weighted_covariates(scale, some(chosen))
        case "trial":
            return lambda chosen: arm_rows(alpha, risk(chosen), some(chosen))
        case "gradient":
            return lambda chosen: model.clipped_gradients(theta, some(chosen), training.clip_l2)
        case "predictor_moments":
            return lambda chosen: moment_rows(risk(chosen))
        case "risk_table":
            return lambda chosen: risk_cells(theta, risk(chosen), *exits(chosen), intervals)
    raise UnknownTaskError(f"no statistic is called {task!r}; refuse the order")

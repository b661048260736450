"""The model that the rounds of an evaluation order: the trained one, and where the risk bins lie once their moments were released."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from privacy.analytics.asks import MOMENTS, RISK_TABLE
from privacy.recipes.recalibration import ask_bins, predictor_moments
from privacy.studies.grid import FloatArray


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A trained model on its way through the evaluation's rounds.

    Attributes:
        theta: (dim,) as trained.
        intervals: K.
        moments: mean and sd of the predictor; those of a standard normal while they are not released.
    """

    theta: FloatArray
    intervals: int
    moments: tuple[float, float] = (0.0, 1.0)

    def after(self, task: str, values: FloatArray) -> Self:
        """With the released sum of a task; only the moments say anything about the next order."""
        return replace(self, moments=predictor_moments(values)) if task == MOMENTS else self

    def ordered(self, task: str) -> FloatArray:
        """The model that a round of `task` carries, (dim,)."""
        return ask_bins(self.theta, self.intervals, *self.moments) if task == RISK_TABLE else self.theta

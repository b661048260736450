"""What follows from the released sums of a study whose hospitals send statistics: one pure fold, round after round.

The coordinator folds to know what to order next; every hospital that saw all sums folds too and refuses a model that does not follow.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from privacy.recipes import recalibration
from privacy.recipes.adam import Adam
from privacy.recipes.few_events import FewEvents
from privacy.recipes.intervals import Estimate, estimate
from privacy.recipes.newton import Newton
from privacy.recipes.trial import Trial
from privacy.recipes.trial_interval import trial_estimate
from privacy.studies.grid import FloatArray
from privacy.studies.layout import Layout
from privacy.studies.life_table import baseline
from privacy.studies.training import Training

#: What a hospital's own fold may differ by: linear algebra is not the same to the last bit on every machine.
SAME_MODEL = 1e-6


@dataclass(frozen=True, slots=True)
class Statistic:
    """A released sum in its own unit.

    Attributes:
        values: (length of the task's payload,).
        noise_sd: standard deviation of the noise on each coordinate, 0 without noise.
    """

    values: FloatArray
    noise_sd: float


@dataclass(frozen=True, slots=True)
class Fit:
    """The state of a recipe between two rounds.

    Attributes:
        training, layout: the study's.
        state: of the recipe itself.
        moments: mean and sd of the predictor once released.
        final: the recalibrated model once its table was released.
    """

    training: Training
    layout: Layout
    state: Newton | FewEvents | Adam | Trial
    moments: tuple[float, float] | None = None
    final: FloatArray | None = None

    @classmethod
    def start(cls, training: Training, layout: Layout, table: Statistic) -> Self:
        """The fit behind the released life table, (2K,) events, then censorings."""
        rate, last = training.learning_rate, training.average_last
        events, censored = table.values[: layout.intervals], table.values[layout.intervals :]
        if training.recipe == "trial":
            trial = Trial.start(events, censored, table.noise_sd, training.allocation, rate, last)
            return cls(training, layout, trial)
        marginal = baseline(events, censored)
        if training.recipe == "adam":
            return cls(training, layout, Adam.start(layout.start(marginal), rate, last))
        columns, scale = len(layout.columns), training.column_scale
        if training.column_spread:
            spread, total = np.asarray(training.column_spread), max(float(events.sum()), 1.0)
            few = FewEvents(
                marginal,
                total,
                spread,
                rate,
                training.rounds,
                last,
                scale,
                np.zeros(columns + 1),
                np.zeros(columns),
            )
            return cls(training, layout, few)
        return cls(training, layout, Newton(marginal, columns, rate, last, scale))

    def after(self, task: str, released: Statistic) -> Self:
        """The fit with one more released sum.

        Raises:
            ValueError: the sum is of a task that this recipe does not have at this point.
        """
        match task, self.state:
            case "hessian", Newton() as state:
                return replace(self, state=state.after_hessian(released.values, released.noise_sd))
            case "means", FewEvents() as state:
                return replace(self, state=state.after_means(released.values, released.noise_sd))
            case "newton", (Newton() | FewEvents()) as state:
                return replace(self, state=state.after_score(released.values, released.noise_sd))
            case "trial", Trial() as state:
                return replace(self, state=state.after_score(released.values, released.noise_sd))
            case "gradient", Adam() as state:
                return replace(self, state=state.after_gradient(released.values))
            case "predictor_moments", _:
                return replace(self, moments=recalibration.predictor_moments(released.values))
            case "risk_table", _:
                return self._recalibrated(released.values)
        raise ValueError(f"recipe {self.training.recipe!r} has no task {task!r} here")

    def _recalibrated(self, table: FloatArray) -> Self:
        if self.moments is None:
            return self
        slope = recalibration.LEVEL_ONLY_SLOPE if self.training.recalibration == "level" else None
        mean, sd = self.moments
        theta = recalibration.recalibrated(self.averaged, self.layout.intervals, table, mean, sd, slope)
        return replace(self, final=theta)

    def ordered(self, task: str) -> FloatArray:
        """The model that a round of `task` is asked at, (dim,), and the numbers that the task carries behind it."""
        match task, self.state:
            case "newton", FewEvents() as state:
                return np.concatenate([self._held(state.current), state.center])
            case "hessian" | "newton" | "trial", (Newton() | Trial()) as state:
                return self._held(state.current)
            case "gradient", Adam() as state:
                return self._held(state.theta)
            case "risk_table", _:
                mean, sd = self.moments or (0.0, 1.0)
                return recalibration.ask_bins(self.averaged, self.layout.intervals, mean, sd)
        return self.averaged

    @property
    def averaged(self) -> FloatArray:
        """The fit before recalibration, (dim,)."""
        match self.state:
            case Newton() | Trial() as state:
                return self._held(state.model(state.averaged))
            case FewEvents() as state:
                return self._held(state.model(state.shrunk))
            case Adam() as state:
                return self._held(state.averaged)

    @property
    def result(self) -> FloatArray:
        """The study's model, (dim,)."""
        return self.averaged if self.final is None else self._held(self.final)

    @property
    def estimate(self) -> Estimate | None:
        """Coefficients with standard errors, where the recipe has them."""
        match self.state:
            case Newton() as state:
                return estimate(state)
            case Trial() as state:
                return trial_estimate(state)
            case FewEvents() as state:
                return state.estimate
        return None

    def _held(self, theta: FloatArray) -> FloatArray:
        bound = self.training.parameter_clip
        return np.asarray(np.clip(theta, -bound, bound), dtype=np.float64)

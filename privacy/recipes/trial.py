r"""The trial mode: the treatment effect of a randomized trial from its arms alone; what is released and what follows from it.

The design matrix holds the arms and nothing else, so nothing about covariates has to be learned and no Hessian is released: how
many patients are in each arm is known from the public allocation. Two statistics are sums over patients.

**Life table**: one cell a patient, sensitivity 1 (`privacy.studies.life_table`).

**Score**, one coordinate an arm: a patient adds the stopped martingale M (`privacy.recipes.newton`) to the coordinate of the own
arm and zero to the others. *One patient moves it by at most 1*: M is 1 - L with the event and -L without, L in [0, 1] the hazard
spent until stopping. Intercept and dummies carry the same information at a sensitivity of sqrt 2, and three times the noise on a
contrast of two arms.

Everything below is post-processing of the noisy sums. Write b for the arms' log hazards over a common baseline. The baseline is the
one whose mixture over the arms has the released life table, and of the released events D the arms are expected to have

    D_g = sum_k d_k w_gk,     w_gk proportional to alpha_g (S_g(k - 1) - S_g(k)),

with alpha the public allocation and S_g the arm's survival, so that b <- b + eta g / D is nearly a Newton step: it leaves out that
another b has another baseline. The effects and their errors, which do not, are in `privacy.recipes.trial_interval`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from privacy.recipes.newton import STOP_LEVEL
from privacy.studies.grid import FloatArray
from privacy.studies.life_table import EVENT_FLOOR, baseline, baseline_slopes

_STEPS = 20
# Of an interval: logarithms of nothing have no use.
LEAST_HAZARD = 1e-9


@dataclass(frozen=True, slots=True)
class Arms:
    """What the released life table lets expect of each arm in each interval, (K, G) each.

    Attributes:
        log_hazards: of a patient.
        share: w_gk, of the interval's events; a row adds up to 1.
        counted: part of the interval before the patients' hazard is spent.
    """

    log_hazards: FloatArray
    share: FloatArray
    counted: FloatArray


@dataclass(frozen=True)
class Trial:
    """The fit after any number of released sums.

    Attributes:
        events: (K,) released events of each interval, none below zero, adding up to the released total.
        cell_sd: noise of each cell of the life table; 0 without noise.
        marginal: (K,) log hazards of the released life table.
        slopes: (K, 2K) what a count of each cell of that table adds to them.
        allocation: (G,) public share of each arm; arm 0 is the reference.
        rate: step size eta.
        average_last: how many of the last iterates the model averages.
        b: (G,) log hazards over the common baseline.
        iterates: b after each score.
        scores: (G,) each, as released.
        noise_sd: of each score's coordinates.
    """

    events: FloatArray
    cell_sd: float
    marginal: FloatArray
    slopes: FloatArray
    allocation: FloatArray
    rate: float
    average_last: int
    b: FloatArray
    iterates: tuple[FloatArray, ...] = ()
    scores: tuple[FloatArray, ...] = ()
    noise_sd: tuple[float, ...] = ()

    @classmethod
    def start(
        cls,
        events: FloatArray,
        censored: FloatArray,
        cell_sd: float,
        allocation: tuple[float, ...],
        rate: float,
        average_last: int,
    ) -> Self:
        """Behind the life table; `events` and `censored` (K,) as released, with noise `cell_sd` on each.

        The shape over time comes from floored cells, the total from the cells as they are: floors would add to it.
        """
        floored = np.maximum(events, EVENT_FLOOR)
        total = max(float(events.sum()), 1.0)
        return cls(
            events=floored * (total / floored.sum()),
            cell_sd=cell_sd,
            marginal=baseline(events, censored, reach_the_end=True),
            slopes=baseline_slopes(events, censored, reach_the_end=True),
            allocation=np.asarray(allocation, dtype=np.float64),
            rate=rate,
            average_last=average_last,
            b=np.zeros(len(allocation)),
        )

    @property
    def events_sd(self) -> float:
        """Noise of the total of events."""
        return self.cell_sd * float(np.sqrt(len(self.events)))

    def after_score(self, score: FloatArray, noise_sd: float) -> Self:
        """One Newton step along a released score, (G,)."""
        expected = np.maximum(self.expected_events(self.b), floor(noise_sd))
        b = self.b + self.rate * score / expected
        return replace(
            self,
            b=b,
            iterates=(*self.iterates, b),
            scores=(*self.scores, score),
            noise_sd=(*self.noise_sd, noise_sd),
        )

    def expected_events(self, b: FloatArray) -> FloatArray:
        """Events that each arm is expected to have before its patients' hazard is spent, D_g, (G,)."""
        arms = self.arms(b)
        return np.asarray(self.events @ (arms.share * arms.counted))

    def arms(self, b: FloatArray) -> Arms:
        """What each arm is expected to do under these log hazards, (G,)."""
        cumulative, alive = self.mixed(b - b[0])
        spent = np.maximum(np.diff(cumulative), LEAST_HAZARD)[:, None] * np.exp(b - b[0])
        among = self.allocation * alive[:-1] * -np.expm1(-spent)
        ordered = spent * np.exp(b[0])
        before = np.cumsum(ordered, axis=0) - ordered
        counted = np.clip(STOP_LEVEL - before, 0.0, ordered) / ordered
        return Arms(np.log(ordered), among / among.sum(axis=1, keepdims=True), counted)

    def mixed(self, effect: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Cumulative hazard of arm 0 at the grid's K + 1 times over which arms with these effects mix to the life table, and who is alive there.

        It solves sum_g alpha_g exp(-h r_g) = exp(-H), H the table's: those at high risk leave early.

        Returns:
            (K + 1,) from 0 on, and (K + 1, G).
        """
        ratio, table = np.exp(effect), np.concatenate([[0.0], np.cumsum(np.exp(self.marginal))])
        log_share = np.log(self.allocation)
        hazard = table / (self.allocation @ ratio)
        for _ in range(_STEPS):
            # Convex in the hazard, and the start is left of the solution: Newton's steps climb to it.
            left = log_share - hazard[:, None] * ratio
            alive = np.exp(left - left.max(axis=1, keepdims=True))
            total = alive.sum(axis=1)
            hazard = hazard + (np.log(total) + left.max(axis=1) + table) * total / (alive @ ratio)
        return hazard, np.exp(-hazard[:, None] * ratio)

    @property
    def averaged(self) -> FloatArray:
        """Mean of the last iterates, (G,); zeros before the first."""
        if not self.iterates:
            return self.b
        return np.asarray(np.mean(self.iterates[-self.average_last :], axis=0))

    def model(self, b: FloatArray) -> FloatArray:
        """Flat model [log hazards of arm 0 (K,), log hazard ratios against it (G - 1,)]."""
        effect = b - b[0]
        return np.concatenate([self.arms(b).log_hazards[:, 0], effect[1:]])

    @property
    def current(self) -> FloatArray:
        """The model that the next score is asked at."""
        return self.model(self.b)


def floor(noise_sd: float) -> float:
    """No arm is taken to have more certain events than the noise of a round lets it have."""
    return noise_sd + 1.0

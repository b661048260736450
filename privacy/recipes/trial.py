r"""The trial mode: the treatment effect of a randomized trial from its arms alone; what is released and what follows from it.

The design matrix holds the arms and nothing else, so nothing about covariates has to be learned and no Hessian is released: how
many patients are in each arm is known from the public allocation. Two statistics are sums over patients.

**Life table**: one cell a patient, sensitivity 1 (`privacy.life_table`).

**Score**, one coordinate an arm: a patient adds the stopped martingale M (`privacy.recipes.newton`) to the coordinate of the own
arm and zero to the others. *One patient moves it by at most 1*: M is 1 - L with the event and -L without, L in [0, 1] the hazard
spent until stopping. Intercept and dummies carry the same information at a sensitivity of sqrt 2, and three times the noise on a
contrast of two arms.

Everything below is post-processing of the noisy sums. Write b for the arms' log hazards over a common baseline. The baseline is the
one whose mixture over the arms has the released life table, and of the released events D the arms are expected to have

    D_g = sum_k d_k w_gk,     w_gk proportional to alpha_g (S_g(k - 1) - S_g(k)),

with alpha the public allocation and S_g the arm's survival, so that b <- b + eta g / D is a Newton step. The contrasts b_g - b_0 follow
the linear filter of `privacy.recipes.intervals` with kappa = eta.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from privacy.grid import FloatArray
from privacy.life_table import EVENT_FLOOR
from privacy.recipes.intervals import SMALLEST_PROGRESS, Estimate, noise_variance
from privacy.recipes.newton import STOP_LEVEL

# Released events in units of their own noise, from which an interval may rest on them.
CERTAIN_EVENTS = 3.0
_STEPS = 5
FEW_EVENTS = (
    "the noise is as large as the number of events, in the whole trial or in one of its arms, so an interval would be wrong; "
    "ask a larger epsilon or more patients"
)


@dataclass(frozen=True)
class Trial:
    """The fit after any number of released sums.

    Attributes:
        events: (K,) released events of each interval, none below zero, adding up to the released total.
        events_sd: noise of that total; 0 without noise.
        marginal: (K,) log hazards of the released life table.
        allocation: (G,) public share of each arm; arm 0 is the reference.
        rate: step size eta.
        average_last: how many of the last iterates the result averages.
        b: (G,) log hazards over the common baseline.
        iterates: b after each score.
        noise_sd: of each score's coordinates.
    """

    events: FloatArray
    events_sd: float
    marginal: FloatArray
    allocation: FloatArray
    rate: float
    average_last: int
    b: FloatArray
    iterates: tuple[FloatArray, ...] = ()
    noise_sd: tuple[float, ...] = ()

    @classmethod
    def start(
        cls,
        events: FloatArray,
        cell_sd: float,
        marginal: FloatArray,
        allocation: tuple[float, ...],
        rate: float,
        average_last: int,
    ) -> Self:
        """Behind the life table; `events` (K,) as released, with noise `cell_sd` on each.

        The shape over time comes from floored cells, the total from the cells as they are: floors would add to it.
        """
        floored = np.maximum(events, EVENT_FLOOR)
        total = max(float(events.sum()), 1.0)
        return cls(
            events=floored * (total / floored.sum()),
            events_sd=cell_sd * float(np.sqrt(len(events))),
            marginal=marginal,
            allocation=np.asarray(allocation, dtype=np.float64),
            rate=rate,
            average_last=average_last,
            b=np.zeros(len(allocation)),
        )

    def after_score(self, score: FloatArray, noise_sd: float) -> Self:
        """One Newton step along a released score, (G,)."""
        expected = np.maximum(self.expected_events(self.b), floor(noise_sd))
        b = self.b + self.rate * score / expected
        return replace(self, b=b, iterates=(*self.iterates, b), noise_sd=(*self.noise_sd, noise_sd))

    def expected_events(self, b: FloatArray) -> FloatArray:
        """Events that each arm is expected to have before its patients' hazard is spent, D_g, (G,)."""
        hazard, alive = self._mixed(b - b[0])
        spent = hazard[:, None] * np.exp(b - b[0])
        among = self.allocation * alive * -np.expm1(-spent)
        counted = np.clip(STOP_LEVEL - (np.cumsum(spent, axis=0) - spent), 0.0, spent) / spent
        return np.asarray(self.events @ (among / among.sum(axis=1, keepdims=True) * counted))

    def _mixed(self, effect: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Hazards of arm 0, (K,), over which arms with these effects mix to the life table, and who is alive before each interval, (K, G).

        Each interval's hazard solves sum_g w_g exp(-h r_g) = exp(-H), w the arms among those alive, H the table's hazard: those at
        high risk leave within an interval too.
        """
        ratio, alive = np.exp(effect), np.ones(len(effect))
        hazards, before = np.empty(len(self.marginal)), np.empty((len(self.marginal), len(effect)))
        for k, table in enumerate(np.exp(self.marginal)):
            before[k] = alive
            share = self.allocation * alive / (self.allocation @ alive)
            hazard = table / (share @ ratio)
            for _ in range(_STEPS):
                left = share * np.exp(-hazard * ratio)
                # Convex in the hazard, and the start is left of the solution: Newton's steps climb to it.
                hazard += (np.log(left.sum()) + table) * left.sum() / (left @ ratio)
            hazards[k] = hazard
            alive = alive * np.exp(-hazard * ratio)
        return hazards, before

    @property
    def averaged(self) -> FloatArray:
        """Mean of the last iterates, (G,); zeros before the first."""
        if not self.iterates:
            return self.b
        return np.asarray(np.mean(self.iterates[-self.average_last :], axis=0))

    def model(self, b: FloatArray) -> FloatArray:
        """Flat model [log hazards of arm 0 (K,), log hazard ratios against it (G - 1,)]."""
        effect = b - b[0]
        return np.concatenate([np.log(self._mixed(effect)[0]) + b[0], effect[1:]])

    @property
    def current(self) -> FloatArray:
        """The model that the next score is asked at."""
        return self.model(self.b)


def floor(noise_sd: float) -> float:
    """No arm is taken to have more certain events than the noise of a round lets it have."""
    return noise_sd + 1.0


def trial_estimate(fit: Trial) -> Estimate:
    """Log hazard ratios against arm 0 with their standard errors, sampling and noise together.

    Without noise the variance of a contrast is 1/D_g + 1/D_0; the noise that the averaging leaves adds v / D_g^2 + v / D_0^2.
    """
    plain = fit.averaged[1:] - fit.averaged[0]
    if not fit.iterates:
        return Estimate(plain, None, "no Newton step was finished")
    rounds, last = len(fit.iterates), min(fit.average_last, len(fit.iterates))
    averaged = np.arange(rounds - last, rounds)
    progress = max(1.0 - float(np.mean((1.0 - fit.rate) ** (averaged + 1))), SMALLEST_PROGRESS)
    expected = fit.expected_events(fit.averaged)
    uncertain = float(fit.events.sum()) < CERTAIN_EVENTS * fit.events_sd
    if uncertain or expected.min() <= floor(max(fit.noise_sd)):
        return Estimate(plain / progress, None, FEW_EVENTS)
    left = noise_variance(fit.rate, np.asarray(fit.noise_sd), last)
    variance = 1.0 / expected + left / (expected * progress) ** 2
    return Estimate(plain / progress, np.sqrt(variance[1:] + variance[0]))

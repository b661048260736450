r"""The Newton recipe where events are few for the columns asked: no Hessian is released, a public one takes its place.

The noise of a released Hessian does not depend on how many patients there are, so with few events a column every direction of it
drowns and the third of the budget that it costs buys nothing. Here everything but the life table goes to the score, and more of
each patient's score is signal:

- the columns are scaled further, so that most patients reach the bound G on |c X| (weights unequal among patients cost efficiency
  in the sampling error, which the noise dwarfs);
- the columns are counted from their means, which one more release estimates (c X summed, |c X| <= G): a patient's distance from the others
  is shorter than from the middle of generous bounds, and the level is no longer mixed with the effects;
- the tilt of the baseline is left to the life table. *One patient then moves the score c X M by at most G = sqrt(1 + B^2)*, because
  |M| <= 1 for the stopped martingale (`privacy.recipes.newton`), whatever the center.

Everything below is post-processing. With D the released number of events, the step of column j is

    b_j <- b_j + eta g_j / (D v_j + 3 s sqrt(p)),

v_j the variance that the column would have under its public declaration and s the noise of the whole score, s_round / sqrt(rounds).
The second term is a ridge: where the noise is large for the number of columns the fit stops early, in the directions that the
patients say least about first. The constants were chosen on public sets that are not in the benchmark's table, on which
the recipe lost about half as much as with a released Hessian; see `tests/bench/README.md`.

The result is shrunk toward no effect by the share of b that is noise (James & Stein 1961, in the metric of the public Hessian): it leaves
the order of the patients alone and makes their predicted risks honest. No standard errors: the curvature was never measured.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import sqrt
from typing import Self

import numpy as np

from privacy.recipes.intervals import Estimate, noise_variance
from privacy.recipes.newton import LARGEST_VARIANCE, conditional_baseline
from privacy.studies.grid import FloatArray

# In units of the noise of the whole score, times the square root of the number of coordinates.
RIDGE = 3.0
# The summed weights count in units of their noise from here on.
KNOWN_WEIGHT = 3.0
# Least share of an effect that shrinking leaves, so that an order of the patients remains.
SMALLEST_SHARE = 0.1
NO_CURVATURE = (
    "there are too few declared patients for so many columns at this epsilon: the noise would hide the curvature of the likelihood, so it is "
    "not released and no interval can be told; ask fewer columns, a larger epsilon or more patients"
)


@dataclass(frozen=True)
class FewEvents:
    """The fit after any number of released sums.

    Attributes:
        marginal: (K,) log hazards of the released life table.
        events: released number of events, D, >= 1.
        spread: (d,) variance of each column inside X by its public declaration, > 0.
        rate: step size eta.
        rounds: how many scores are planned.
        average_last: how many of the last iterates the result averages.
        scale: public factor of the columns inside X.
        b: (d + 1,) current coefficients of X = (1, scale (x - center)).
        center: (d,) released means of the columns, 0 before.
        iterates: b after each score.
        noise_sd: of each score's coordinates.
    """

    marginal: FloatArray
    events: float
    spread: FloatArray
    rate: float
    rounds: int
    average_last: int
    scale: float
    b: FloatArray
    center: FloatArray
    iterates: tuple[FloatArray, ...] = ()
    noise_sd: tuple[float, ...] = ()

    def after_means(self, total: FloatArray, noise_sd: float) -> Self:
        """The center from the released sum of c X, (d + 1,), each mean shrunk to 0 by its own noise and held to the columns' range."""
        weight = max(float(total[0]), KNOWN_WEIGHT * noise_sd, 1.0)
        means = total[1:] / weight
        share = np.maximum(1.0 - (noise_sd / weight) ** 2 / np.maximum(means**2, 1e-300), 0.0)
        return replace(self, center=np.clip(share * means / self.scale, -1.0, 1.0))

    def after_score(self, score: FloatArray, noise_sd: float) -> Self:
        """One step along a released score, (d + 1,)."""
        b = self.b + self.rate * score / self.stiffness(noise_sd)
        return replace(self, b=b, iterates=(*self.iterates, b), noise_sd=(*self.noise_sd, noise_sd))

    def stiffness(self, noise_sd: float) -> FloatArray:
        """What the score is divided by, (d + 1,): the public Hessian's diagonal and the ridge."""
        ridge = RIDGE * noise_sd / sqrt(self.rounds) * sqrt(len(self.b))
        return np.concatenate([[max(self.events, ridge)], self.events * self.spread + ridge])

    @property
    def averaged(self) -> FloatArray:
        """Mean of the last iterates, (d + 1,); zeros before the first."""
        if not self.iterates:
            return self.b
        return np.asarray(np.mean(self.iterates[-self.average_last :], axis=0))

    @property
    def shrunk(self) -> FloatArray:
        """`averaged` with its effects multiplied by the share of them that is not noise."""
        b = self.averaged.copy()
        if not self.iterates:
            return b
        noise, last = np.asarray(self.noise_sd), min(self.average_last, len(self.iterates))
        stiffness = self.stiffness(float(noise.max()))[1:]
        # The ridge is not in the likelihood: a step goes less of the way back than it takes in of the noise.
        back = self.rate * self.events * self.spread / stiffness
        left = np.array([noise_variance(float(k), noise, last, self.rate) for k in back]) / stiffness**2
        explained = float(self.spread @ b[1:] ** 2)
        share = 1.0 - float(self.spread @ left) / max(explained, 1e-300)
        b[1:] *= max(share, SMALLEST_SHARE)
        return b

    def model(self, b: FloatArray) -> FloatArray:
        """Flat model [log hazards (K,), coefficients per unit of x (d,)] of b."""
        variance = min(float(self.spread @ b[1:] ** 2), LARGEST_VARIANCE)
        beta = self.scale * b[1:]
        level = b[0] - float(beta @ self.center)
        return np.concatenate([conditional_baseline(self.marginal, variance) + level, beta])

    @property
    def current(self) -> FloatArray:
        """The model that the next score is asked at."""
        return self.model(self.b)

    @property
    def estimate(self) -> Estimate:
        """Coefficients without standard errors."""
        return Estimate(self.scale * self.shrunk[1:], None, NO_CURVATURE)

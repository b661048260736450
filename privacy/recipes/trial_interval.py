r"""Treatment effects of the trial mode with errors that know of everything that is random in them: post-processing of released sums.

**Effects.** Let round t be asked at b_t, with the log hazards l_gk(b_t), and let the truth be b. The score that arm g then has to expect is

    S_g(b_t; b) = sum_k c_gk(b_t) d_k w_gk(b) (1 - exp(l_gk(b_t) - l_gk(b))),

c the part of an interval before a patient's hazard is spent. The estimate is the b whose S, on average over the rounds, is what was
released: no step's length is in it and nothing that unfinished convergence leaves behind.

**Errors**, to first order: A (b - truth) = Z + z - B e - F m, where A = dS / db, and

- Z are the counted martingales of the arms, of variance D_g = sum_k D_gk, D_gk = d_k w_gk c_gk;
- z is the mean of the rounds' noise, of variance v;
- e are the errors of the life table's K log hazards and B = sum_k d_k w_gk r_gk dl_k / de what they do to the score, r_gk the mean over
  rounds of c_gk(b_t) exp(l_gk(b_t) - l_gk(b)). What all intervals share only moves all arms' levels; a contrast feels the rest
  where the arms' events lie at different times;
- m are the errors of the d_k, and F = w_gk times the mean of c_gk(b_t), less r_gk.

The table was counted on the same patients: the martingale m_k of an interval, of variance d_k and covariance D_gk with Z_g, is an error of d_k and
m_k / d_k one of e_k. Noise n of standard deviation s on the table's 2K cells adds L n to e, L of `privacy.studies.life_table.baseline_slopes`, and its
first half to m. So with P = B diag(1 / d) + F the covariance of b is A^-1 M A^-T,

    M = diag(D_g) - P D' - D P' + P diag(d) P'  +  diag(v)  +  s^2 (B L + (F, 0)) (B L + (F, 0))'.

For two arms that nowhere stop the first four terms leave about the inverse of Cox' information sum_k d_k w_0k w_1k, which is
1 / D_1 + 1 / D_0 only where proportions at risk do not drift.

Proportional hazards are assumed, and that censoring does not depend on the arm. Two things are left out. Who is at risk in each arm is taken to be
as many as expected. And hazards are taken as constant within an interval, and leaving as even: where half of the patients or more have the event, that moves the effects, and
`LATE` says so (`python -m tests.bench.trial_bias`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from privacy.recipes.intervals import Estimate
from privacy.recipes.trial import LEAST_HAZARD, Arms, Trial, floor
from privacy.studies.grid import FloatArray

# Released events in units of their own noise, from which an interval may rest on them.
CERTAIN_EVENTS = 3.0
FEW_EVENTS = (
    "the noise is as large as the number of events, in the whole trial or in one of its arms, so an interval would be wrong; "
    "ask a larger epsilon or more patients"
)
# Cumulative hazard of the released life table from which the bias is worth a word: half of the patients have the event.
LATE_HAZARD = math.log(2.0)
LATE = (
    "by the released life table half of the patients or more have the event before the horizon; there the effects are biased by what happens within an interval of "
    "the grid, where hazards change and patients leave, and no confidence interval counts that: without noise, on ten intervals with censoring from the middle of the "
    "horizon on, a log hazard ratio of -0.7 came out too near to zero by up to 0.004 under constant hazards, 0.006 under Weibull hazards of shape 1.2 and 0.010 of shape "
    "1.5; 0.006 is a tenth of the standard error of 2,000 patients and that of 200,000"
)
_SOLVING_STEPS = 12
# Of a log hazard, for slopes; errors of slopes are of its square.
_NUDGE = 1e-4


def trial_estimate(fit: Trial) -> Estimate:
    """Log hazard ratios against arm 0 with their standard errors, sampling and noise together."""
    plain = fit.averaged[1:] - fit.averaged[0]
    if not fit.iterates:
        return Estimate(plain, None, "no Newton step was finished")
    uncertain = float(fit.events.sum()) < CERTAIN_EVENTS * fit.events_sd
    if uncertain or fit.expected_events(fit.averaged).min() <= floor(max(fit.noise_sd)):
        return Estimate(plain, None, FEW_EVENTS)
    asked = _Asked.of(fit)
    b = asked.solved(fit.averaged)
    contrast = np.hstack([-np.ones((len(b) - 1, 1)), np.eye(len(b) - 1)])
    covariance = contrast @ asked.covariance(b) @ contrast.T
    late = float(np.exp(fit.marginal).sum()) >= LATE_HAZARD
    return Estimate(contrast @ b, np.sqrt(np.diag(covariance)), limit=LATE if late else "")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A fit and what each of its rounds was asked at, T `arms`."""

    fit: Trial
    arms: tuple[Arms, ...]

    @classmethod
    def of(cls, fit: Trial) -> _Asked:
        asked_at = (np.zeros_like(fit.b), *fit.iterates[:-1])
        return cls(fit, tuple(fit.arms(b) for b in asked_at))

    def solved(self, b: FloatArray) -> FloatArray:
        """The b at which the expected score is the released one, (G,), from a guess of it."""
        released, inverse = np.mean(self.fit.scores, axis=0), np.linalg.inv(self.slopes(b))
        for _ in range(_SOLVING_STEPS):
            b = b + inverse @ (released - self.expected(b))
        return b

    def expected(self, b: FloatArray) -> FloatArray:
        """Mean of S(b_t; b) over the rounds, (G,)."""
        truth = self.fit.arms(b)
        counted, spent = self.weights(truth)
        return np.asarray(self.fit.events @ (truth.share * (counted - spent)))

    def weights(self, truth: Arms) -> tuple[FloatArray, FloatArray]:
        """Means over the rounds of c and of c r, (K, G) each."""
        counted = np.mean([arms.counted for arms in self.arms], axis=0)
        spent = np.mean(
            [arms.counted * np.exp(arms.log_hazards - truth.log_hazards) for arms in self.arms], axis=0
        )
        return counted, spent

    def slopes(self, b: FloatArray) -> FloatArray:
        """A = dS / db, (G, G)."""
        steps = _NUDGE * np.eye(len(b))
        return np.stack(
            [(self.expected(b + step) - self.expected(b - step)) / (2 * _NUDGE) for step in steps], axis=1
        )

    def covariance(self, b: FloatArray) -> FloatArray:
        """Of the solution b, (G, G)."""
        fit, truth = self.fit, self.fit.arms(b)
        counted, spent = self.weights(truth)
        events, among = fit.events, fit.events[:, None] * truth.share
        own = (among * truth.counted).T
        by_table = (among * spent).T @ self.table_slopes(b)
        by_share = (truth.share * (counted - spent)).T
        by_event = by_table / events + by_share
        sampling = (
            np.diag(own.sum(axis=1)) - by_event @ own.T - own @ by_event.T + (by_event * events) @ by_event.T
        )
        cells = by_table @ fit.slopes
        cells[:, : len(events)] += by_share
        scores = float(np.mean(np.square(fit.noise_sd))) / len(fit.noise_sd)
        middle = sampling + scores * np.eye(len(b)) + fit.cell_sd**2 * cells @ cells.T
        inverse = np.linalg.inv(self.slopes(b))
        return np.asarray(inverse @ middle @ inverse.T)

    def table_slopes(self, b: FloatArray) -> FloatArray:
        """dl_gk / de_l, (K, K): what an error of the life table's log hazard l adds to the log hazards of interval k, the same for every arm.

        With H the table's cumulative hazards and rho the mean hazard ratio among those alive, dh_k = dH_k / rho_k at the end of each interval.
        """
        fit, ratio = self.fit, np.exp(b - b[0])
        cumulative, alive = fit.mixed(b - b[0])
        among = fit.allocation * alive
        mean_ratio = (among @ ratio) / among.sum(axis=1)
        table = np.tril(np.ones((len(fit.marginal) + 1, len(fit.marginal))), -1) * np.exp(fit.marginal)
        hazards = np.maximum(np.diff(cumulative), LEAST_HAZARD)
        return np.asarray(np.diff(table / mean_ratio[:, None], axis=0) / hazards[:, None])

"""The four sums over patients that a synthesizer sees, as rows to be clipped, summed and noised.

One patient is one row in each. Nothing here is released by itself: the rows go through `privacy.mechanisms`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from privacy.dictionary import Dictionary
from privacy.grid import FloatArray, IntArray
from privacy.mechanisms import Sampler, decode_release, release_rows
from privacy.plan import DpPlan, Release
from privacy.synthesis.attributes import attributes, cell_of
from privacy.synthesis.releases import MARGINS, MOMENTS, OUTCOME, SCORE

SMALLEST_TOTAL = 50.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Noised sums in patients; post-processing of them is free.

    Attributes:
        outcome: (2 K,) exits with the event by interval, then those without; not negative, as `on_simplex` makes them.
        score: (d,) sum of s x.
        moments: (d + d (d + 1) / 2,) sums of x sqrt 2, then of the upper triangle of x x', off-diagonals times sqrt 2.
        margins: one histogram after the other.
    """

    outcome: FloatArray
    score: FloatArray
    moments: FloatArray
    margins: FloatArray

    @property
    def total(self) -> float:
        """Noised number of patients."""
        return float(self.outcome.sum())


def measure(
    x: FloatArray,
    exit_interval: IntArray,
    event: IntArray,
    intervals: int,
    dictionary: Dictionary,
    plan: DpPlan,
    sampler: Sampler,
    pay: Callable[[Release], None],
) -> Statistics:
    """The plan's four releases about these patients.

    Args:
        x: (n, d) design matrix, values in [-1, 1].
        exit_interval: (n,) in [0, intervals).
        event: (n,) 0 or 1.
        intervals: K.
        dictionary: of the columns.
        plan: of `synthesis_plan`.
        sampler: of the noise.
        pay: called with each release before anything of it is computed.
    """

    def released(name: str, rows: FloatArray) -> FloatArray:
        release = plan.release(name)
        pay(release)
        return decode_release(release_rows(rows, release, sampler), release)

    cell = np.where(event == 1, exit_interval, intervals + exit_interval)
    outcome = on_simplex(released(OUTCOME, np.eye(2 * intervals)[cell]))
    short = _shortened(x, plan.release(SCORE).clip_l2)
    return Statistics(
        outcome=outcome,
        score=released(SCORE, scores(outcome)[cell][:, None] * short),
        moments=released(MOMENTS, _moment_rows(short)),
        margins=released(MARGINS, _margin_rows(x, dictionary)),
    )


def scores(outcome: FloatArray) -> FloatArray:
    """Score of each cell of the outcome, (2 K,), in [-1, 1]: event minus cumulative hazard, of the noised life table.

    Source: the martingale residual of Therneau, Grambsch & Fleming 1990; a patient who leaves within an interval has
    half of its hazard behind.
    """
    events, censored = np.split(outcome, 2)
    at_risk = np.cumsum((events + censored)[::-1])[::-1]
    hazard = events / np.maximum(at_risk - 0.5 * (events + censored), 1.0)
    cumulative = np.cumsum(hazard) - 0.5 * hazard
    return np.asarray(np.clip(np.concatenate([1 - cumulative, -cumulative]), -1.0, 1.0), dtype=np.float64)


def on_simplex(noised: FloatArray) -> FloatArray:
    """The nearest counts that are not negative and add up to the same total (at least 50).

    Source: Duchi et al. 2008, projection onto the simplex.
    """
    total = max(float(noised.sum()), SMALLEST_TOTAL)
    falling = np.sort(noised)[::-1]
    excess = (np.cumsum(falling) - total) / np.arange(1, len(falling) + 1)
    cut = excess[np.flatnonzero(falling > excess)[-1]]
    return np.asarray(np.maximum(noised - cut, 0.0), dtype=np.float64)


def _shortened(x: FloatArray, clip: float) -> FloatArray:
    """x of each patient, so that |(1, x)| <= clip where the patient's exceeds it: score and moments see one patient alike."""
    norm = np.sqrt(1 + np.square(x).sum(axis=1, keepdims=True))
    return np.asarray(x * np.minimum(1.0, clip / norm), dtype=np.float64)


def _moment_rows(x: FloatArray) -> FloatArray:
    first, second = np.triu_indices(x.shape[1])
    weight = np.where(first == second, 1.0, np.sqrt(2.0))
    return np.column_stack([np.sqrt(2.0) * x, weight * x[:, first] * x[:, second]])


def _margin_rows(x: FloatArray, dictionary: Dictionary) -> FloatArray:
    found = attributes(dictionary)
    return np.concatenate([np.eye(a.cells)[cell_of(a, x)] for a in found], axis=1)

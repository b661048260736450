"""The four sums over patients that a synthesizer sees, as rows to be clipped, summed and noised.

One patient is one row in each. Nothing here is released by itself: the rows go through `privacy.noise.mechanisms`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from privacy.guarantees.plan import DpPlan, Release
from privacy.noise.mechanisms import Sampler, decode_release, release_rows
from privacy.patients.dictionary import Dictionary
from privacy.studies.grid import FloatArray, IntArray
from privacy.synthesis.attributes import attributes, cell_of
from privacy.synthesis.charges import MARGINS, MOMENTS, OUTCOME, SCORE

SMALLEST_TOTAL = 50.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Noised sums in patients; post-processing of them is free.

    Attributes:
        outcome: (2 K + 1,) patients in each cell of `outcome_cell`; not negative, as `on_simplex` makes them.
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


def outcome_cell(
    exit_interval: IntArray, event: IntArray, is_at_end: NDArray[np.bool_], intervals: int
) -> IntArray:
    """One of 2 K + 1 cells for each patient: an event by interval, an exit without one by interval, or no event up to the horizon.

    Args:
        exit_interval: (n,) in [0, intervals).
        event: (n,) 0 or 1.
        is_at_end: (n,) follow-up lasted to the horizon. Spread over the last interval, these patients would leave a
            handful at risk behind them, and the curve would fall to zero.
        intervals: K.
    """
    left = np.where(is_at_end, 2 * intervals, intervals + exit_interval)
    return np.asarray(np.where(event == 1, exit_interval, left), dtype=np.int64)


def measure(
    x: FloatArray,
    cell: IntArray,
    intervals: int,
    dictionary: Dictionary,
    plan: DpPlan,
    sampler: Sampler,
    pay: Callable[[Release], None],
) -> Statistics:
    """The plan's four releases about these patients.

    Args:
        x: (n, d) design matrix, values in [-1, 1].
        cell: (n,) of `outcome_cell`.
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

    outcome = on_simplex(released(OUTCOME, outcome_rows(cell, intervals)))
    clip = plan.release(SCORE).clip_l2
    return Statistics(
        outcome=outcome,
        score=released(SCORE, score_rows(x, cell, outcome, clip)),
        moments=released(MOMENTS, moment_rows(x, clip)),
        margins=released(MARGINS, margin_rows(x, dictionary)),
    )


def outcome_rows(cell: IntArray, intervals: int) -> FloatArray:
    """(n, 2 K + 1), one 1 in each row."""
    return np.eye(2 * intervals + 1)[cell]


def score_rows(x: FloatArray, cell: IntArray, outcome: FloatArray, clip: float) -> FloatArray:
    """s x of each patient, (n, d); L2 norm at most the clip."""
    return np.asarray(scores(outcome)[cell][:, None] * _shortened(x, clip), dtype=np.float64)


def moment_rows(x: FloatArray, clip: float) -> FloatArray:
    """sqrt 2 x and the upper triangle of x x', off-diagonals times sqrt 2, (n, d + d (d + 1) / 2); L2 norm at most `moments_clip`."""
    short = _shortened(x, clip)
    first, second = np.triu_indices(x.shape[1])
    weight = np.where(first == second, 1.0, np.sqrt(2.0))
    return np.column_stack([np.sqrt(2.0) * short, weight * short[:, first] * short[:, second]])


def margin_rows(x: FloatArray, dictionary: Dictionary) -> FloatArray:
    """The cell of each attribute, one histogram after the other; L2 norm sqrt F."""
    return np.concatenate([np.eye(a.cells)[cell_of(a, x)] for a in attributes(dictionary)], axis=1)


def scores(outcome: FloatArray) -> FloatArray:
    """Score of each cell of the outcome, (2 K + 1,), in [-1, 1]: event minus cumulative hazard, of the noised life table.

    Source: the martingale residual of Therneau, Grambsch & Fleming 1990; a patient who leaves within an interval has
    half of its hazard behind.
    """
    events, left = np.split(outcome[:-1], 2)
    leaving = events + left
    at_risk = outcome[-1] + np.cumsum(leaving[::-1])[::-1]
    hazard = events / np.maximum(at_risk - 0.5 * leaving, 1.0)
    whole = np.cumsum(hazard)
    behind = whole - 0.5 * hazard
    return np.asarray(
        np.clip(np.concatenate([1 - behind, -behind, -whole[-1:]]), -1.0, 1.0), dtype=np.float64
    )


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
    """x of each patient, so that |x| <= clip where the patient's exceeds it: score and moments see one patient alike."""
    norm = np.sqrt(np.square(x).sum(axis=1, keepdims=True))
    return np.asarray(x * np.minimum(1.0, clip / np.maximum(norm, clip)), dtype=np.float64)

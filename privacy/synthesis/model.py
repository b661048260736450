"""The model behind the noised sums: a mean that moves with the outcome's score, one covariance, and margins."""

from dataclasses import dataclass

import numpy as np

from privacy.guarantees.plan import DpPlan
from privacy.patients.dictionary import Dictionary
from privacy.studies.grid import FloatArray
from privacy.synthesis.attributes import attributes
from privacy.synthesis.charges import MOMENTS, SCORE
from privacy.synthesis.statistics import Statistics, on_simplex, scores

_SMALLEST_VARIANCE = 1e-3
# Of a log hazard ratio per half of a column's public range.
_COEFFICIENT_SPREAD = 1.0


@dataclass(frozen=True, slots=True)
class SynthesisModel:
    """Everything that synthetic patients are drawn from; public, since it follows from the noised sums.

    Attributes:
        outcome: (2 K + 1,) probabilities of the cells of `outcome_cell`.
        mean: (2 K + 1, d) of the columns, for each outcome.
        covariance: (d, d) within an outcome, positive definite.
        margins: probabilities of the cells of each attribute.
        patients: how many the sums say there are.
    """

    outcome: FloatArray
    mean: FloatArray
    covariance: FloatArray
    margins: tuple[FloatArray, ...]
    patients: int


def fit(statistics: Statistics, dictionary: Dictionary, plan: DpPlan) -> SynthesisModel:
    """The model that has these sums; post-processing.

    With s the score, S = E s and V = Var s, E(s x) = S E x + V delta gives the direction delta in which the mean moves. The
    eigenvalues of the covariance are kept above half the noise of its largest one.
    """
    total, d = statistics.total, dictionary.n_columns
    share = statistics.outcome / total
    score = scores(statistics.outcome)
    expected = float(share @ score)
    centered = score - expected
    variance = max(float(share @ centered**2), 1e-6)
    center = statistics.moments[:d] / np.sqrt(2.0) / total
    delta = (statistics.score / total - expected * center) / variance
    within = (
        _second(statistics.moments[d:], d) / total
        - np.outer(center, center)
        - variance * np.outer(delta, delta)
    )
    noise = _noise(plan, MOMENTS) / total
    values, vectors = np.linalg.eigh(within)
    floor = _SMALLEST_VARIANCE + 0.5 * np.sqrt(d) * noise
    covariance = (vectors * np.maximum(values, floor)) @ vectors.T
    direction = _shrunk(delta, covariance, _noise(plan, SCORE) / total / variance)
    return SynthesisModel(
        outcome=share / share.sum(),
        mean=center + np.outer(centered, direction),
        covariance=covariance,
        margins=_margins(statistics.margins, dictionary, total),
        patients=round(total),
    )


def _shrunk(delta: FloatArray, covariance: FloatArray, noise: float) -> FloatArray:
    """Posterior mean of the direction when its coefficients, covariance^-1 delta, are normal around 0 with a public spread.

    A column whose values fill little of its bounds has a small variance: the same noise is a huge coefficient there.
    """
    prior = _COEFFICIENT_SPREAD**2 * covariance @ covariance
    return np.asarray(prior @ np.linalg.solve(prior + noise**2 * np.eye(len(delta)), delta), dtype=np.float64)


def _noise(plan: DpPlan, name: str) -> float:
    release = plan.release(name)
    return release.noise_multiplier * release.clip_l2


def _second(upper: FloatArray, d: int) -> FloatArray:
    """The symmetric matrix of an upper triangle whose off-diagonals were multiplied by sqrt 2."""
    first, second = np.triu_indices(d)
    matrix = np.zeros((d, d))
    matrix[first, second] = upper / np.where(first == second, 1.0, np.sqrt(2.0))
    return np.asarray(matrix + np.triu(matrix, 1).T, dtype=np.float64)


def _margins(counts: FloatArray, dictionary: Dictionary, total: float) -> tuple[FloatArray, ...]:
    ends = np.cumsum([attribute.cells for attribute in attributes(dictionary)])
    parts = np.split(counts, ends[:-1])
    # Each histogram knows the number of patients with its own noise; the outcome's knows it best.
    shifted = [on_simplex(part + (total - part.sum()) / len(part)) for part in parts]
    return tuple(part / part.sum() for part in shifted)

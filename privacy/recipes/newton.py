r"""The noisy Newton recipe in its weighted form: what is released, why one patient moves it so little, what follows from it.

Write X = (1, scale x), p = d + 1, B^2 = 4, G = sqrt(1 + B^2), c = min(1, G / |X|). Three statistics are sums over patients.

**Life table**: one cell a patient, sensitivity 1 (`privacy.studies.life_table`).

**Hessian**: h X X' with h = c min(1, S / (c |X|^2)) min(Lambda_0, 1), S = 1.5 G^2, Lambda_0 the patient's cumulative hazard under the
life table alone. Its Frobenius norm is h |X|^2 <= min(c |X|^2, S) <= S. The upper triangle with off-diagonals times sqrt 2 has
the same L2 norm as the matrix has Frobenius norm, so equal noise on its coordinates is calibrated to S.

**Score**: follow the patient until the own cumulative hazard reaches 1, a constant. With r_k = y_k - (hazard spent in interval k)
up to there, zero after, and an event after stopping not counted, the score is c X M, M = sum_k r_k, and one more coordinate is
sum_k phi_k r_k, phi from -1 to 1.

*One patient moves the score by at most sqrt(max(B^2 + 2, 4)).* Let L in [0, 1] be the hazard spent until stopping. Because |c X| <= G:

- with the event, M = 1 - L and |sum phi_k r_k| <= sum |r_k| <= 1 + L, so the squared norm is at most
  q(L) = (1 + B^2)(1 - L)^2 + (1 + L)^2. q is convex, so it is largest at an end: q(0) = B^2 + 2, q(1) = 4;
- without, M = -L and |sum phi_k r_k| <= L, so it is at most L^2 (B^2 + 2).

The proof needs the stop level 1 exactly and |phi| <= 1; another level does not just scale the bound. The stopped martingale has mean
zero, and c depends on covariates alone, so the weighted score is unbiased where clipping a gradient is not.

Everything below is post-processing of noisy sums. Raw x enters the predictor; only its weight in the score is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from math import sqrt
from typing import Self

import numpy as np

from privacy.recipes.tasks import B_SQUARED
from privacy.studies.grid import FloatArray

G = sqrt(1.0 + B_SQUARED)
STOP_LEVEL = 1.0
LARGEST_VARIANCE = 4.0
LARGEST_TILT = 1.5
_NODES = 20


def tilt_shape(intervals: int) -> FloatArray:
    """phi, linear from -1 to 1 over the intervals, shape (K,)."""
    return np.linspace(-1.0, 1.0, intervals)


def triangle_weights(p: int) -> FloatArray:
    """Factors of the upper triangle's entries, row by row: 1 on the diagonal, sqrt 2 off it; shape (p (p + 1) / 2,)."""
    rows, columns = np.triu_indices(p)
    return np.where(rows == columns, 1.0, sqrt(2.0))


def unpack(triangle: FloatArray) -> FloatArray:
    """The symmetric matrix (p, p) of an upper triangle whose off-diagonals were multiplied by sqrt 2."""
    p = int((sqrt(8 * triangle.size + 1) - 1) / 2)
    matrix = np.zeros((p, p))
    matrix[np.triu_indices(p)] = triangle / triangle_weights(p)
    return np.asarray(matrix + np.triu(matrix, 1).T)


@dataclass(frozen=True)
class Curvature:
    """The released Hessian with what every step needs of it.

    Attributes:
        matrix: (p, p), symmetric, noisy, possibly indefinite.
        noise_sd: standard deviation of a diagonal entry's noise; 0 without noise.
    """

    matrix: FloatArray
    noise_sd: float

    @cached_property
    def eigen(self) -> tuple[FloatArray, FloatArray]:
        """Eigenvalues ascending (p,) and eigenvectors in columns (p, p)."""
        values, vectors = np.linalg.eigh(self.matrix)
        return np.asarray(values), np.asarray(vectors)

    @property
    def floor(self) -> float:
        """No direction is taken to be better known than the noise lets it be."""
        return self.noise_sd * sqrt(len(self.matrix)) + 1.0

    def step(self, score: FloatArray) -> FloatArray:
        """U diag(1 / max(lambda, floor)) U' score, (p,)."""
        values, vectors = self.eigen
        return np.asarray(vectors @ ((vectors.T @ score) / np.maximum(values, self.floor)))

    def variance(self, b: FloatArray) -> float:
        """Variance of the linear predictor over patients under the released second moments, in [0, 4]."""
        total = max(float(self.matrix[0, 0]), 1.0)
        mean = self.matrix[0, 1:] / total
        covariance = self.matrix[1:, 1:] / total - np.outer(mean, mean)
        return float(np.clip(b[1:] @ covariance @ b[1:], 0.0, LARGEST_VARIANCE))


@cache
def _standard_normal() -> tuple[FloatArray, FloatArray]:
    """Gauss-Hermite nodes and weights that add up to 1, for means over N(0, 1)."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(_NODES)
    return nodes, weights / weights.sum()


def conditional_baseline(marginal: FloatArray, variance: float) -> FloatArray:
    """Log hazards at predictor 0 whose mixture over N(0, variance) has the marginal life table, shape (K,).

    Walks over the intervals: those with a high predictor leave earlier, so the same marginal hazard means a higher
    conditional one later.

    Args:
        marginal: (K,) log hazards of the released life table.
        variance: of the linear predictor, >= 0.
    """
    nodes, weights = _standard_normal()
    ratio = np.exp(sqrt(variance) * nodes)
    alive = np.ones(_NODES)
    baseline = np.empty(len(marginal))
    for k, hazard in enumerate(marginal):
        baseline[k] = hazard + np.log((weights @ alive) / (weights @ (alive * ratio)))
        alive = alive * np.exp(-np.exp(baseline[k]) * ratio)
    return baseline


@dataclass(frozen=True)
class Newton:
    """The fit after any number of released sums.

    Attributes:
        marginal: (K,) log hazards of the released life table.
        columns: d.
        rate: step size eta.
        average_last: how many of the last iterates the result averages.
        scale: public factor of the columns inside X.
        curvature: None before the Hessian's round.
        b: (p,) current coefficients of X.
        tilt: current slope of the baseline over phi.
        iterates: (p + 1,) each, b and tilt after each score.
        noise_sd: of each score's coordinates.
    """

    marginal: FloatArray
    columns: int
    rate: float
    average_last: int
    scale: float
    curvature: Curvature | None = None
    b: FloatArray | None = None
    tilt: float = 0.0
    iterates: tuple[FloatArray, ...] = ()
    noise_sd: tuple[float, ...] = ()

    def after_hessian(self, triangle: FloatArray, noise_sd: float) -> Self:
        """The fit with the released Hessian, (p (p + 1) / 2,) as encoded."""
        return replace(self, curvature=Curvature(unpack(triangle), noise_sd), b=np.zeros(self.columns + 1))

    def after_score(self, statistic: FloatArray, noise_sd: float) -> Self:
        """One Newton step along a released score, (p + 1,): g, then the tilt's coordinate.

        Raises:
            ValueError: no Hessian came before.
        """
        if self.curvature is None or self.b is None:
            raise ValueError("a score came before the Hessian")
        score, along = statistic[:-1], float(statistic[-1])
        b = self.b + self.rate * self.curvature.step(score)
        center, spread = self._tilt_moments()
        events = max(float(self.curvature.matrix[0, 0]), 1.0)
        stiffness = max(events * max(spread, 0.05), self.curvature.floor)
        tilt = self.tilt + self.rate * (along - center * float(score[0])) / stiffness
        tilt = float(np.clip(tilt, -LARGEST_TILT, LARGEST_TILT))
        return replace(
            self,
            b=b,
            tilt=tilt,
            iterates=(*self.iterates, np.append(b, tilt)),
            noise_sd=(*self.noise_sd, noise_sd),
        )

    def _tilt_moments(self) -> tuple[float, float]:
        """Mean and variance of phi over the intervals in which events fall under the released survival curve."""
        survival = np.exp(-np.concatenate([[0.0], np.cumsum(np.exp(self.marginal))]))
        weight = survival[:-1] - survival[1:]
        weight = weight / weight.sum()
        phi = tilt_shape(len(self.marginal))
        center = float(weight @ phi)
        return center, float(weight @ phi**2) - center**2

    @property
    def averaged(self) -> FloatArray:
        """Mean of the last iterates, (p + 1,); zeros before the first."""
        if not self.iterates:
            return np.zeros(self.columns + 2)
        return np.asarray(np.mean(self.iterates[-self.average_last :], axis=0))

    def model(self, iterate: FloatArray) -> FloatArray:
        """Flat model [log hazards (K,), coefficients per unit of x (d,)] of an iterate (p + 1,)."""
        b, tilt = iterate[:-1], float(iterate[-1])
        variance = 0.0 if self.curvature is None else self.curvature.variance(b)
        log_hazards = (
            conditional_baseline(self.marginal, variance) + tilt * tilt_shape(len(self.marginal)) + b[0]
        )
        return np.concatenate([log_hazards, self.scale * b[1:]])

    @property
    def current(self) -> FloatArray:
        """The model that the next score is asked at."""
        return self.model(np.zeros(self.columns + 2) if self.b is None else np.append(self.b, self.tilt))

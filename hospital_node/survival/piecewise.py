"""The default model: proportional hazards, constant within each interval of the public grid.

Patient i contributes l_i = sum_k [y_ik eta_ik - u_ik exp(eta_ik)] with eta_ik = alpha_k + x_i beta, y the event and u the
share of the interval at risk. It is a Poisson likelihood and a sum over patients, which Cox' partial likelihood is not.

Source: Holford 1980 (Biometrics 36); Laird & Olivier 1981 (JASA 76); Friedman 1982 (Ann. Statist. 10).
"""

from dataclasses import dataclass

import numpy as np

from hospital_node.survival.clipping import clip_factors
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.prepared import Prepared
from privacy.noise.clipped_blocks import Block, Outer
from privacy.studies.grid import FloatArray
from privacy.studies.layout import Layout

# exp(30) events expected in one interval: far beyond any fit, far from overflow.
LARGEST_PREDICTOR = 30.0


def hazards(log_hazards: FloatArray, risk: FloatArray) -> FloatArray:
    """Expected events of a patient at risk for the whole interval, shape (n, K), from alpha (K,) and f(x) (n,)."""
    return np.exp(np.minimum(log_hazards + risk[:, None], LARGEST_PREDICTOR))


@dataclass(frozen=True, slots=True)
class PiecewiseExponential:
    """The linear model, f(x) = x beta, with gradients in closed form.

    With the residuals r_ik = y_ik - u_ik exp(eta_ik) and M_i = sum_k r_ik, the gradient of patient i is (r_i, M_i x_i),
    so its squared norm is |r_i|^2 + M_i^2 |x_i|^2 and needs no gradient to be written down.
    """

    layout: Layout

    def loss(self, theta: FloatArray, patients: FollowUp) -> float:
        """Negative log-likelihood, summed over patients (constants in the data left out)."""
        risk = self.layout.risk(theta, patients.x)
        log_hazards = self.layout.alpha(theta)
        explained = patients.events * (log_hazards + risk[:, None])
        return float((patients.exposure * hazards(log_hazards, risk) - explained).sum())

    def gradient_sum(self, theta: FloatArray, patients: FollowUp) -> FloatArray:
        """Gradient of the log-likelihood, shape (dim,)."""
        residuals = self._residuals(theta, patients)
        return np.concatenate([residuals.sum(axis=0), residuals.sum(axis=1) @ patients.x])

    def norms(self, theta: FloatArray, patients: FollowUp) -> FloatArray:
        """L2 norm of each patient's gradient over all coordinates, shape (n,)."""
        return self._norms(self._residuals(theta, patients), patients.x)

    def clipped_gradients(self, theta: FloatArray, patients: FollowUp, clip_l2: float) -> FloatArray:
        """Each patient's gradient held to L2 norm clip_l2, shape (n, dim); zero where it is not finite."""
        with np.errstate(over="ignore", invalid="ignore"):
            residuals = self._residuals(theta, patients)
            factors = clip_factors(self._norms(residuals, patients.x), clip_l2)[:, None]
            shrunk = residuals * factors
            rows = np.hstack([shrunk, shrunk.sum(axis=1, keepdims=True) * patients.x])
        return np.where(factors > 0, rows, 0.0)

    def prepared(self, patients: FollowUp, bits: int) -> Prepared:
        """What all steps of a round need."""
        return Prepared.of(patients, constant=False, bits=bits)

    def gradient_blocks(self, theta: FloatArray, patients: Prepared) -> tuple[Block, ...]:
        """Each patient's gradient as factors, not clipped: (r_i, M_i x_i)."""
        risk = patients.columns.times(self.layout.beta(theta))
        residuals = patients.events - patients.exposure * hazards(self.layout.alpha(theta), risk)
        return (residuals, Outer(np.add.reduce(residuals, axis=1), None, patients.columns))

    def _residuals(self, theta: FloatArray, patients: FollowUp) -> FloatArray:
        risk = self.layout.risk(theta, patients.x)
        return patients.events - patients.exposure * hazards(self.layout.alpha(theta), risk)

    def _norms(self, residuals: FloatArray, x: FloatArray) -> FloatArray:
        total = residuals.sum(axis=1)
        squares = (residuals**2).sum(axis=1) + total**2 * (x**2).sum(axis=1)
        return np.asarray(np.sqrt(squares))

"""The network with one hidden layer in closed form: f(x) = v tanh(W x + b), without torch and without hooks.

With residuals r_ik and M_i = sum_k r_ik as in the linear model, h_i = tanh(W x_i + b) and d_i = M_i v (1 - h_i^2), the gradient of
patient i is (r_i, d_i x_i', d_i, M_i h_i), so its squared norm is |r_i|^2 + |d_i|^2 (|x_i|^2 + 1) + M_i^2 |h_i|^2.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hospital_node.survival.clipping import clip_rows
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.piecewise import hazards
from hospital_node.survival.prepared import Prepared
from privacy.noise.clipped_blocks import Block, Outer
from privacy.noise.whole import Whole, factor_bits
from privacy.studies.grid import FloatArray
from privacy.studies.layout import Layout, LayoutError, each_row, row_by_row


@dataclass(frozen=True, slots=True)
class OneHidden:
    """Proportional hazards with log relative hazard f(x).

    Attributes:
        layout: with exactly one hidden layer.
    """

    layout: Layout

    def __post_init__(self) -> None:
        """Check the layout.

        Raises:
            LayoutError: another number of hidden layers.
        """
        if len(self.layout.hidden) != 1:
            raise LayoutError("the closed form is that of one hidden layer")

    def loss(self, theta: FloatArray, patients: FollowUp) -> float:
        """Negative log-likelihood, summed over patients."""
        risk = self.layout.risk(theta, patients.x)
        log_hazards = self.layout.alpha(theta)
        explained = patients.events * (log_hazards + risk[:, None])
        return float((patients.exposure * hazards(log_hazards, risk) - explained).sum())

    def gradient_sum(self, theta: FloatArray, patients: FollowUp) -> FloatArray:
        """Gradient of the log-likelihood, shape (dim,)."""
        # The fast product rounds by batch; here nobody's sensitivity depends on it.
        residuals, total, hidden, back = self._parts(theta, patients, np.matmul)
        weights = (back.T @ patients.x).ravel()
        return np.concatenate([residuals.sum(axis=0), weights, back.sum(axis=0), total @ hidden])

    def prepared(self, patients: FollowUp, bits: int) -> Prepared:
        """What all steps of a round need."""
        return Prepared.of(patients, constant=True, bits=bits)

    def gradient_blocks(self, theta: FloatArray, patients: Prepared) -> tuple[Block, ...]:
        """Each patient's gradient as factors, not clipped: (r_i, M_i w_i (x_i, 1)', M_i h_i), w_i = v (1 - h_i^2)."""
        inner, last = self.layout.layers
        weights = np.empty((inner.inputs + 1, inner.outputs))
        weights[:-1], weights[-1] = inner.weight(theta).T, inner.offset(theta)
        v = last.weight(theta)[0]
        hidden = np.tanh(patients.columns.times(weights))
        units = Whole.of(hidden, factor_bits(patients.bits, len(v)))
        spent = patients.exposure * hazards(self.layout.alpha(theta), units.times(v))
        residuals = patients.events - spent
        total = np.add.reduce(residuals, axis=1)
        np.multiply(hidden, hidden, out=hidden)
        np.subtract(1.0, hidden, out=hidden)
        hidden *= v
        return (residuals, Outer(total, hidden, patients.columns, constant=True), Outer(total, None, units))

    def clipped_gradients(self, theta: FloatArray, patients: FollowUp, clip_l2: float) -> FloatArray:
        """Each patient's gradient held to L2 norm clip_l2, shape (n, dim); zero where it is not finite."""
        residuals, total, hidden, back = self._parts(theta, patients, each_row)
        with np.errstate(over="ignore", invalid="ignore"):
            weights = (back[:, :, None] * patients.x[:, None, :]).reshape(len(patients), -1)
            rows = np.hstack([residuals, weights, back, total[:, None] * hidden])
        return clip_rows(rows, clip_l2)

    def _parts(
        self, theta: FloatArray, patients: FollowUp, product: Callable[[FloatArray, FloatArray], FloatArray]
    ) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """r (n, K), M (n,), h (n, H) and d (n, H)."""
        inner, last = self.layout.layers
        with np.errstate(over="ignore", invalid="ignore"):
            hidden = np.tanh(product(patients.x, inner.weight(theta).T) + inner.offset(theta))
            v = last.weight(theta)[0]
            spent = patients.exposure * hazards(self.layout.alpha(theta), row_by_row(hidden, v))
            residuals = patients.events - spent
            total = residuals.sum(axis=1)
            back = (total[:, None] * v) * (1.0 - hidden * hidden)
        return residuals, total, hidden, back

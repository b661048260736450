"""What local training needs of a survival model."""

from typing import Protocol

from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.network import Mlp
from hospital_node.survival.piecewise import PiecewiseExponential
from privacy.grid import FloatArray
from privacy.layout import Layout


class SurvivalModel(Protocol):
    """A loss that is a sum over patients, with its gradient patient by patient.

    Losses that couple patients (partial likelihoods, rankings, batch statistics) cannot implement this.
    """

    @property
    def layout(self) -> Layout:
        """Meaning of each coordinate of theta."""

    def loss(self, theta: FloatArray, patients: FollowUp) -> float:
        """Negative log-likelihood, summed over patients."""

    def gradient_sum(self, theta: FloatArray, patients: FollowUp) -> FloatArray:
        """Gradient of the log-likelihood (the direction of ascent), shape (dim,)."""

    def clipped_gradients(self, theta: FloatArray, patients: FollowUp, clip_l2: float) -> FloatArray:
        """Each patient's gradient of the log-likelihood as one row, shape (n, dim), L2 norm <= clip_l2.

        A row that is not finite is zero.
        """


def build_model(layout: Layout) -> SurvivalModel:
    """The model of a layout: a network where it has hidden layers, linear otherwise."""
    return Mlp(layout) if layout.hidden else PiecewiseExponential(layout)

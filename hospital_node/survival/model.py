"""What local training needs of a survival model."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.network import Mlp
from hospital_node.survival.one_hidden import OneHidden
from hospital_node.survival.piecewise import PiecewiseExponential
from hospital_node.survival.prepared import Prepared
from privacy.noise.clipped_blocks import Block
from privacy.studies.grid import FloatArray
from privacy.studies.layout import Layout


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


@runtime_checkable
class ClosedForm(Protocol):
    """A model that knows each patient's gradient as a few small factors, which are clipped and summed without rows."""

    def prepared(self, patients: FollowUp, bits: int) -> Prepared:
        """What all steps of a round need of the hospital's patients, for sums of 2**bits units per clip."""

    def gradient_blocks(self, theta: FloatArray, patients: Prepared) -> Sequence[Block]:
        """Each patient's gradient of the log-likelihood, not clipped, in the order of the layout."""


def build_model(layout: Layout) -> SurvivalModel:
    """The model of a layout: linear without hidden layers, in closed form with one, through Opacus with more."""
    if not layout.hidden:
        return PiecewiseExponential(layout)
    return OneHidden(layout) if len(layout.hidden) == 1 else Mlp(layout)

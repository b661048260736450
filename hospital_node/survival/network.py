"""The same likelihood with a network f(x) of several hidden layers in place of x beta; one layer has a closed form of its own.

Per-patient gradients come from Opacus, one row per patient over all parameters, and are then clipped as one vector.
Opacus' own optimizer and noise are not used: noise is added to integers (see `hospital_node.dp_sgd`). torch and opacus
take seconds to import, so they load when a network is first built, never with this module.
"""

import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from hospital_node.survival.clipping import clip_rows
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.piecewise import LARGEST_PREDICTOR, hazards
from privacy.studies.grid import FloatArray
from privacy.studies.layout import Layout

if TYPE_CHECKING:
    import torch


class UnsuitableNetworkError(ValueError):
    """A network for which gradients of single patients do not exist."""


class Mlp:
    """Proportional hazards with log relative hazard f(x), a tanh network with one output."""

    def __init__(self, layout: Layout) -> None:
        """Take the layout; the network itself is built when first used.

        Args:
            layout: with at least one hidden layer.
        """
        self._layout = layout

    @property
    def layout(self) -> Layout:
        """Meaning of each coordinate of theta."""
        return self._layout

    def loss(self, theta: FloatArray, patients: FollowUp) -> float:
        """Negative log-likelihood, summed over patients."""
        risk = self._layout.risk(theta, patients.x)
        log_hazards = self._layout.alpha(theta)
        explained = patients.events * (log_hazards + risk[:, None])
        return float((patients.exposure * hazards(log_hazards, risk) - explained).sum())

    def gradient_sum(self, theta: FloatArray, patients: FollowUp) -> FloatArray:
        """Gradient of the log-likelihood, shape (dim,)."""
        return np.asarray(self.gradients(theta, patients).sum(axis=0))

    def clipped_gradients(self, theta: FloatArray, patients: FollowUp, clip_l2: float) -> FloatArray:
        """Each patient's gradient held to L2 norm clip_l2, shape (n, dim); zero where it is not finite."""
        return clip_rows(self.gradients(theta, patients), clip_l2)

    def gradients(self, theta: FloatArray, patients: FollowUp) -> FloatArray:
        """Each patient's gradient of the log-likelihood, not clipped, shape (n, dim)."""
        n = len(patients)
        if n == 0:
            return np.zeros((0, self._layout.dim))
        import torch

        sampled = self._sampled
        self._load(theta)
        sampled.zero_grad()
        eta = sampled(torch.as_tensor(patients.x))
        events, exposure = torch.as_tensor(patients.events), torch.as_tensor(patients.exposure)
        log_likelihood = events * eta - exposure * torch.exp(torch.clamp(eta, max=LARGEST_PREDICTOR))
        with warnings.catch_warnings():
            # Opacus hooks layers whose inputs, the patients' columns, rightly ask for no gradient.
            warnings.filterwarnings("ignore", message="Full backward hook is firing")
            log_likelihood.sum().backward()
        parts = [parameter.grad_sample.reshape(n, -1) for parameter in sampled.parameters()]
        return np.asarray(torch.cat(parts, dim=1).numpy(), dtype=np.float64)

    @cached_property
    def _sampled(self) -> Any:
        from opacus import GradSampleModule

        # Sums, not means: a mean would divide each patient's gradient by the size of the batch, which is a secret.
        return GradSampleModule(validated(_network(self._layout)), loss_reduction="sum")

    def _load(self, theta: FloatArray) -> None:
        import torch

        flat, start = torch.as_tensor(self._layout.checked(theta)), 0
        with torch.no_grad():
            for parameter in self._sampled.parameters():
                parameter.copy_(flat[start : start + parameter.numel()].reshape(parameter.shape))
                start += parameter.numel()


def validated(network: "torch.nn.Module") -> "torch.nn.Module":
    """The network itself, if Opacus can tell its patients apart.

    Raises:
        UnsuitableNetworkError: a layer mixes the patients of a batch, as batch normalization does.
    """
    from opacus.validators import ModuleValidator

    problems = ModuleValidator.validate(network, strict=False)
    if problems:
        reasons = "; ".join(str(problem).split(". ")[0] for problem in problems)
        raise UnsuitableNetworkError(
            f"a layer mixes patients ({reasons}); use one that treats each patient alone"
        )
    return network


def _network(layout: Layout) -> "torch.nn.Module":
    import torch
    from torch import nn

    class LogHazards(nn.Module):  # type: ignore[misc]  # torch is not followed, so its classes are Any
        """eta_ik = alpha_k + f(x_i), parameters in the order of the layout."""

        def __init__(self) -> None:
            super().__init__()
            # A linear layer on a constant 1: Opacus knows how to tell its gradients apart by patient.
            self.alpha = nn.Linear(1, layout.intervals, bias=False)
            stages: list[nn.Module] = []
            for layer in layout.layers[:-1]:
                stages += [nn.Linear(layer.inputs, layer.outputs), nn.Tanh()]
            self.f = nn.Sequential(*stages, nn.Linear(layout.hidden[-1], 1, bias=False))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            ones = torch.ones((len(x), 1), dtype=x.dtype)
            log_hazards: torch.Tensor = self.alpha(ones) + self.f(x)
            return log_hazards

    return LogHazards().double()

"""Adam on noisy sums of clipped gradients: the recipe for many columns and for networks.

A hospital sends the sum of its patients' gradients, each clipped as one vector over all parameters, so one patient moves a sum by at
most the clip. The moments below see noisy sums only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from privacy.studies.grid import FloatArray

BETAS = (0.9, 0.99)
_TINY = 1e-12


@dataclass(frozen=True)
class Adam:
    """The fit after any number of released sums.

    Attributes:
        theta: (dim,) current model.
        rate: step size.
        average_last: how many of the last models the result averages.
        first, second: (dim,) moments; None before the first sum.
        steps: sums seen.
        last: the last models, at most `average_last`.
    """

    theta: FloatArray
    rate: float
    average_last: int
    first: FloatArray
    second: FloatArray
    steps: int = 0
    last: tuple[FloatArray, ...] = ()

    @classmethod
    def start(cls, theta: FloatArray, rate: float, average_last: int) -> Self:
        """No sum seen yet."""
        return cls(theta, rate, average_last, np.zeros_like(theta), np.zeros_like(theta))

    def after_gradient(self, total: FloatArray) -> Self:
        """One step of ascent along a released sum of gradients, (dim,)."""
        beta1, beta2 = BETAS
        steps = self.steps + 1
        first = beta1 * self.first + (1 - beta1) * total
        second = beta2 * self.second + (1 - beta2) * total**2
        direction = (first / (1 - beta1**steps)) / (np.sqrt(second / (1 - beta2**steps)) + _TINY)
        theta = self.theta + self.rate * direction
        return replace(
            self,
            theta=theta,
            first=first,
            second=second,
            steps=steps,
            last=(*self.last, theta)[-self.average_last :],
        )

    @property
    def averaged(self) -> FloatArray:
        """Mean of the last models, (dim,)."""
        return np.asarray(np.mean(self.last, axis=0)) if self.last else self.theta

"""The meaning of each coordinate of the one flat vector in which a model travels.

Both families begin with alpha, the log cumulative hazard of each interval at covariates 0. The linear model goes on
with one coefficient per column; the network with weights and biases of its layers, row by row, and ends in a single
output without bias (alpha has that part). It lives here because the coordinator, which can load no model, has to name
coefficients and to make the common start.
"""

import hashlib
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from privacy.studies.grid import FloatArray


class LayoutError(ValueError):
    """A vector that does not belong to this model."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One linear layer inside the flat vector.

    Attributes:
        inputs, outputs: widths, >= 1.
        start: index of the first weight; the weights are (outputs, inputs), row by row.
        bias: whether `outputs` biases follow the weights.
    """

    inputs: int
    outputs: int
    start: int
    bias: bool

    @property
    def stop(self) -> int:
        """Index after the layer's last coordinate."""
        return self.start + self.outputs * (self.inputs + self.bias)

    def weight(self, theta: FloatArray) -> FloatArray:
        """Weights, shape (outputs, inputs)."""
        return theta[self.start : self.start + self.outputs * self.inputs].reshape(self.outputs, self.inputs)

    def offset(self, theta: FloatArray) -> FloatArray:
        """Biases, shape (outputs,); zeros for a layer without."""
        if not self.bias:
            return np.zeros(self.outputs)
        return theta[self.stop - self.outputs : self.stop]


@dataclass(frozen=True, slots=True)
class Layout:
    """Coordinates of a model.

    Attributes:
        intervals: K >= 1.
        columns: names of the design matrix' columns.
        hidden: widths of the hidden layers; empty for the linear model.
    """

    intervals: int
    columns: tuple[str, ...]
    hidden: tuple[int, ...] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Layers of the network in order; none for the linear model."""
        if not self.hidden:
            return ()
        made: list[Layer] = []
        start = self.intervals
        for inputs, outputs in pairwise((len(self.columns), *self.hidden)):
            made.append(Layer(inputs, outputs, start, bias=True))
            start = made[-1].stop
        made.append(Layer(self.hidden[-1], 1, start, bias=False))
        return tuple(made)

    @property
    def dim(self) -> int:
        """Length of the flat vector."""
        return self.layers[-1].stop if self.hidden else self.intervals + len(self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """A name for each coordinate; coefficients of the linear model carry their column's name."""
        alphas = tuple(f"log_hazard[{k}]" for k in range(self.intervals))
        if not self.hidden:
            return (*alphas, *self.columns)
        inner = tuple(
            f"layer{number}[{index}]"
            for number, layer in enumerate(self.layers)
            for index in range(layer.stop - layer.start)
        )
        return (*alphas, *inner)

    def checked(self, theta: FloatArray) -> FloatArray:
        """`theta` as float64, if it belongs to this layout.

        Raises:
            LayoutError: wrong length, or a coordinate that is not finite.
        """
        vector = np.asarray(theta, dtype=np.float64)
        if vector.shape != (self.dim,):
            raise LayoutError(
                f"the model has {vector.size} numbers where its study says {self.dim}; refuse the order"
            )
        if not np.isfinite(vector).all():
            raise LayoutError("the model holds a number that is not finite; refuse the order")
        return vector

    def alpha(self, theta: FloatArray) -> FloatArray:
        """Log cumulative hazards, shape (intervals,)."""
        return theta[: self.intervals]

    def beta(self, theta: FloatArray) -> FloatArray:
        """Log hazard ratios per scaled unit of the linear model, shape (columns,).

        Raises:
            LayoutError: the model is a network, which has none.
        """
        if self.hidden:
            raise LayoutError("a network has no hazard ratios; use family 'piecewise_exponential' for them")
        return theta[self.intervals :]

    def start(self, log_hazards: FloatArray) -> FloatArray:
        """The common, public start: the given baseline, no effect of any covariate, shape (dim,).

        A network starts from fixed weights (else its units would stay equal) and a last layer of zeros, so that it
        too begins without effects.
        """
        theta = np.zeros(self.dim)
        theta[: self.intervals] = log_hazards
        for number, layer in enumerate(self.layers[:-1]):
            # Half of Glorot's range, in which tanh is close to linear.
            reach = 0.5 * np.sqrt(6 / (layer.inputs + layer.outputs))
            size = layer.inputs * layer.outputs
            weights = reach * (
                2 * _public_uniforms(f"layer {number}: {layer.outputs} x {layer.inputs}", size) - 1
            )
            theta[layer.start : layer.start + size] = weights
        return theta

    def risk(self, theta: FloatArray, x: FloatArray) -> FloatArray:
        """Log relative hazard of each patient, shape (n,): higher means an earlier event.

        Args:
            theta: (dim,).
            x: (n, columns) design matrix.
        """
        if not self.hidden:
            return row_by_row(x, self.beta(theta))
        signal = x
        for layer in self.layers[:-1]:
            signal = np.tanh(each_row(signal, layer.weight(theta).T) + layer.offset(theta))
        return row_by_row(signal, self.layers[-1].weight(theta)[0])


def row_by_row(rows: FloatArray, weights: FloatArray) -> FloatArray:
    """rows @ weights, (n,), each row's digits from that row alone.

    BLAS rounds the last rows of a matrix in another order than the others, so with `@` one patient less moves the last digit of a few
    others, and truncation can make a whole unit of it that no sensitivity counts.
    """
    return np.asarray(np.einsum("ij,j->i", rows, weights), dtype=np.float64)


def each_row(rows: FloatArray, weights: FloatArray) -> FloatArray:
    """The same for a matrix of weights (b, m): (n, m)."""
    return np.stack([row_by_row(rows, column) for column in np.ascontiguousarray(weights.T)], axis=1)


def _public_uniforms(label: str, size: int) -> FloatArray:
    """Numbers in [0, 1) that everybody derives alike: no generator's stream is promised to stay the same."""
    stream = hashlib.shake_256(f"wardround start weights, {label}".encode()).digest(4 * size)
    return np.frombuffer(stream, dtype=">u4").astype(np.float64) / 2**32

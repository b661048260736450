"""Synthetic patients from a fitted model: outcome, then a normal vector around its mean, then each attribute's margin.

Ranks are mapped onto the margins (a Gaussian copula). Where an attribute has few cells this shortens how far its mean moves with the
outcome; moving the means until the synthetic patients had the paid moments also amplified their noise, and models trained on
the result were worse on four of five sets. All of it is post-processing.
"""

from dataclasses import dataclass

import numpy as np

from privacy.patients.dictionary import Dictionary
from privacy.studies.grid import FloatArray, IntArray
from privacy.synthesis.attributes import Attribute, attributes, columns_of
from privacy.synthesis.model import SynthesisModel

_OFFSET_STEP, _OFFSET_ROUNDS = 0.7, 40


@dataclass(frozen=True, slots=True)
class SyntheticPatients:
    """n patients who do not exist.

    Attributes:
        values: for each attribute (n,): scaled numbers in [-1, 1], category indices, or 0/1.
        x: (n, d) design matrix.
        exit_interval: (n,) in [0, K).
        event: (n,) 0 or 1.
        within: (n,) in (0, 1], where in its interval follow-up ends.
    """

    values: tuple[FloatArray, ...]
    x: FloatArray
    exit_interval: IntArray
    event: IntArray
    within: FloatArray

    def time(self, times_days: FloatArray) -> FloatArray:
        """Days of follow-up, (n,), on the grid (K + 1,)."""
        start, end = times_days[self.exit_interval], times_days[self.exit_interval + 1]
        return np.asarray(start + (end - start) * self.within, dtype=np.float64)


def generate(
    model: SynthesisModel, dictionary: Dictionary, patients: int, rng: np.random.Generator
) -> SyntheticPatients:
    """Draw patients.

    Args:
        model: of `privacy.synthesis.model.fit`.
        dictionary: of its columns.
        patients: how many, >= 1; any number costs the same.
        rng: the shell seeds it from the operating system; knowing it reveals nothing that was not paid for.
    """
    found = attributes(dictionary)
    intervals = len(model.outcome) // 2
    cells = rng.choice(len(model.outcome), size=patients, p=model.outcome)
    to_the_end = cells == 2 * intervals
    draws = rng.standard_normal((patients, model.mean.shape[1]))
    values = _attribute_values(model, found, model.mean[cells] + draws @ _root(model.covariance).T)
    return SyntheticPatients(
        values=values,
        x=_columns(found, values),
        exit_interval=np.where(to_the_end, intervals - 1, cells % intervals),
        event=(cells < intervals).astype(np.int64),
        within=np.where(to_the_end, 1.0, 1.0 - rng.random(patients)),
    )


def _root(covariance: FloatArray) -> FloatArray:
    return np.asarray(np.linalg.cholesky(covariance + 1e-9 * np.eye(len(covariance))), dtype=np.float64)


def _attribute_values(
    model: SynthesisModel, found: tuple[Attribute, ...], normal: FloatArray
) -> tuple[FloatArray, ...]:
    scale = np.sqrt(np.diag(model.covariance))
    return tuple(
        _chosen(attribute, margin, normal[:, attribute.span], scale[attribute.span])
        for attribute, margin in zip(found, model.margins, strict=True)
    )


def _chosen(attribute: Attribute, margin: FloatArray, normal: FloatArray, scale: FloatArray) -> FloatArray:
    """Values of one attribute whose shares are its margin, in the order of the normal columns."""
    if attribute.kind == "category":
        return _largest(margin, normal / scale.mean())
    rank = np.argsort(np.argsort(normal[:, 0])) / len(normal)
    ends = np.concatenate([[0.0], np.cumsum(margin)])
    ends /= ends[-1]
    cell = np.clip(np.searchsorted(ends, rank, side="right") - 1, 0, len(margin) - 1)
    if attribute.kind != "number":
        return cell.astype(np.float64)
    within = np.clip((rank - ends[cell]) / np.maximum(ends[cell + 1] - ends[cell], 1e-12), 0.0, 1.0)
    return np.asarray((cell + within) / len(margin) * 2 - 1, dtype=np.float64)


def _largest(margin: FloatArray, normal: FloatArray) -> FloatArray:
    """The category whose normal column is the largest; offsets make the shares those of the margin."""
    columns = np.column_stack([np.zeros(len(normal)), normal])
    offset = np.zeros(len(margin))
    for _ in range(_OFFSET_ROUNDS):
        reached = np.bincount((columns + offset).argmax(axis=1), minlength=len(margin)) / len(normal)
        offset += _OFFSET_STEP * (np.log(margin + 1e-3) - np.log(reached + 1e-3))
    return np.asarray((columns + offset).argmax(axis=1), dtype=np.float64)


def _columns(found: tuple[Attribute, ...], values: tuple[FloatArray, ...]) -> FloatArray:
    return np.concatenate(
        [columns_of(attribute, value) for attribute, value in zip(found, values, strict=True)], axis=1
    )

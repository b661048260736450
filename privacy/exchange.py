"""What one summed vector holds: the payload of a task, the hospital's public weight, zeros up to the study's length.

The hospital builds its vector here and the coordinator reads the sum here, so the two cannot drift apart. Tasks:

- "life_table": integer counts of events and of censorings per interval (already noised), one unit per patient.
- "train": the weighted change of the model's parameters in fixed point; the weight of a hospital is its declared
  size over the declared size of all (`n_public`), never a row count.

The last coordinate of every vector is the hospital's `n_public`. All of them are public, so the coordinator checks that
the sum over the answering hospitals is what it must be.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from privacy.agreement import WEIGHT_COORDINATES, Agreement
from privacy.canonical import canonical
from privacy.life_table import baseline
from privacy.trained_model import layout_of
from secagg.fixed_point import FixedPoint, to_ring
from secagg.masks import Ring

Task = Literal["life_table", "train"]


class ExchangeError(Exception):
    """A sum or a model that cannot be what the agreement says; names the part."""


def task_of(agreement: Agreement, round_number: int) -> Task:
    """What round `round_number` (from 1) is for: the life table comes first where the study has one.

    Raises:
        ExchangeError: the study has no such round.
    """
    last = agreement.training.rounds + int(agreement.training.life_table)
    if not 1 <= round_number <= last:
        raise ExchangeError(f"round {round_number}: the study has rounds 1 to {last}")
    return "life_table" if agreement.training.life_table and round_number == 1 else "train"


def total_rounds(agreement: Agreement) -> int:
    """Rounds of the whole study, the life table included."""
    return agreement.training.rounds + int(agreement.training.life_table)


def order_settings(agreement: Agreement, round_number: int) -> bytes:
    """The settings part of a round order.

    Everything that a hospital acts on is in the agreement already; the order names it again, so that a hospital which was told something else
    signs another order hash.
    """
    return canonical(
        {
            "task": task_of(agreement, round_number),
            "round": round_number,
            "training": agreement.training.model_dump(mode="json"),
        }
    )


def fixed_point(agreement: Agreement) -> FixedPoint:
    """The map between parameters and the ring."""
    return FixedPoint(agreement.fraction_bits, agreement.coordinate_clip, agreement.modulus_bits)


def weight(agreement: Agreement, hospital: str) -> float:
    """The hospital's share in the mean over all hospitals, in (0, 1]."""
    return agreement.study.n_public[hospital] / agreement.study.n_public_total


def update_vector(
    agreement: Agreement, hospital: str, old: NDArray[np.float64], new: NDArray[np.float64]
) -> Ring:
    """The vector of "train": weight times (new - old) on the fixed-point grid.

    Under differential privacy `new` is already noised, so holding it in the box and rounding are post-processing.

    Args:
        old, new: parameters before and after the hospital's steps, (parameters,) float64.

    Returns:
        (dim,) ring elements.
    """
    bound = agreement.training.parameter_clip
    change = np.clip(new, -bound, bound) - np.clip(old, -bound, bound)
    encoded = fixed_point(agreement).encode(weight(agreement, hospital) * change)
    return _assemble(agreement, hospital, encoded)


def count_vector(agreement: Agreement, hospital: str, counts: NDArray[np.int64]) -> Ring:
    """The vector of "life_table": counts of events, then of censorings, (2 intervals,), as they are; never clamped."""
    return _assemble(agreement, hospital, to_ring(counts, agreement.modulus_bits))


def _assemble(agreement: Agreement, hospital: str, payload: Ring) -> Ring:
    """Payload, zeros, weight."""
    vector = np.zeros(agreement.dim, dtype=payload.dtype)
    vector[: payload.size] = payload
    vector[-WEIGHT_COORDINATES] = agreement.study.n_public[hospital]
    return vector


def payload_of(
    agreement: Agreement, total: NDArray[np.int64], answered: Collection[str], length: int
) -> NDArray[np.int64]:
    """The summed payload, (length,) int64, after the public weight was checked.

    Raises:
        ExchangeError: the weight coordinate is not the sum of the answering hospitals' declared sizes.
    """
    declared = sum(agreement.study.n_public[hospital] for hospital in answered)
    if int(total[-WEIGHT_COORDINATES]) != declared:
        raise ExchangeError(
            f"the weights sum to {int(total[-WEIGHT_COORDINATES])} where the answering hospitals declared {declared}; "
            "a hospital runs another agreement"
        )
    return total[:length]


def mean_update(
    agreement: Agreement, total: NDArray[np.int64], answered: Collection[str]
) -> NDArray[np.float64]:
    """The weighted mean of the answering hospitals' changes, (parameters,) float64."""
    payload = payload_of(agreement, total, answered, agreement.parameters)
    share = sum(weight(agreement, hospital) for hospital in sorted(answered))
    mean: NDArray[np.float64] = payload.astype(np.float64) / (share * float(1 << agreement.fraction_bits))
    return mean


def start_model(
    agreement: Agreement, total: NDArray[np.int64] | None, answered: Collection[str]
) -> NDArray[np.float64]:
    """The common start of the training: the life table's baseline, no effect of any covariate, (parameters,) float64.

    Args:
        total: the life table's sum; None where the study has none.
        answered: hospitals in it.
    """
    intervals = agreement.study.intervals
    layout = layout_of(agreement)
    if total is None:
        return layout.start(np.zeros(intervals))
    table = payload_of(agreement, total, answered, 2 * intervals).astype(np.float64)
    return layout.start(baseline(table[:intervals], table[intervals:]))


def expected_model(
    agreement: Agreement,
    round_number: int,
    last_round: int,
    last_model: bytes,
    total: NDArray[np.int64],
    answered: Collection[str],
) -> NDArray[np.float64] | None:
    """The model that round `round_number` must order, where it follows from the signed sum of the round before.

    It does after the life table, and after a training round under plain averaging; other strategies keep state that only the coordinator has.

    Args:
        last_round: the round of the latest signed sum this hospital has.
        last_model: the model that was ordered in it.
        total, answered: that sum and who is in it.

    Returns:
        (parameters,) float64, or None where it cannot be told.
    """
    if last_round != round_number - 1:
        return None
    if task_of(agreement, last_round) == "life_table":
        return start_model(agreement, total, answered)
    if agreement.training.strategy != "fedavg":
        return None
    return parse_model(agreement, last_model) + mean_update(agreement, total, answered)


def model_bytes(theta: NDArray[np.float64]) -> bytes:
    """Parameters as they travel in a round order: little-endian float64."""
    return theta.astype("<f8").tobytes()


def parse_model(agreement: Agreement, data: bytes) -> NDArray[np.float64]:
    """Parameters from a round order.

    Raises:
        ExchangeError: wrong length, a value that is not finite or lies outside the agreed box (a trap model).
    """
    if len(data) != 8 * agreement.parameters:
        raise ExchangeError(
            f"the model has {len(data) // 8} parameters, the agreement says {agreement.parameters}"
        )
    theta = np.frombuffer(data, dtype="<f8").astype(np.float64)
    bound = 2.0 * agreement.training.parameter_clip
    if not np.all(np.isfinite(theta)) or np.any(np.abs(theta) > bound):
        raise ExchangeError(f"the model has parameters that are not finite or beyond {bound:g}")
    return theta

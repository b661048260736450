"""What one summed vector holds: the payload of a task, the hospital's public weight, zeros up to the study's length.

The hospital builds its vector here and the coordinator reads the sum here, so the two cannot drift apart. Tasks:

- "counts" (life table of recipes that train at the hospitals): whole patients, already noised.
- "change" ("train"): the weighted change of the model's parameters in fixed point; the weight of a hospital is its declared
  size over the declared size of all (`n_public`), never a row count.
- "statistic" (all other tasks): a noisy sum over patients in units of 2^-40 of its clip, reduced modulo the ring and never rounded
  again, because the guarantee of a sum of noise shares speaks of the exact sum.

Where spare noise is taken out of sums (`privacy.noise.noise_layers`), the coordinate before the last is 0 in every upload, and in the sum the number of
hospitals whose spare noise is out: the noise that is left is part of what the receipt signs.

The last coordinate of every vector is the hospital's `n_public`. All of them are public, so the coordinator checks that
the sum over the answering hospitals is what it must be.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from privacy.guarantees.plan import Charge, PlanError, Release
from privacy.link.canonical import canonical
from privacy.noise.mechanisms import decode_release
from privacy.recipes.fit import Statistic
from privacy.recipes.tasks import Task
from privacy.studies.agreement import REMOVED_COORDINATES, WEIGHT_COORDINATES, Agreement
from privacy.studies.training import Training
from privacy.synthesis.charges import DerivedRelease, SynthesisRelease
from secagg.fixed_point import BLOCK, FixedPoint, to_ring
from secagg.masks import Ring

# Place of the count of hospitals whose spare noise is out, in studies that take it out.
REMOVED = -(WEIGHT_COORDINATES + REMOVED_COORDINATES)


class ExchangeError(Exception):
    """A sum or a model that cannot be what the agreement says; names the part."""


def task_at(agreement: Agreement, round_number: int) -> Task:
    """What round `round_number` (from 1) is for, by the order of the recipe's tasks.

    Raises:
        ExchangeError: the study has no such round.
    """
    first = 1
    for task in agreement.tasks:
        if first <= round_number < first + task.rounds:
            return task
        first += task.rounds
    raise ExchangeError(f"round {round_number}: the study has rounds 1 to {first - 1}")


def task_of(agreement: Agreement, round_number: int) -> str:
    """The name of that task, as a round order carries it."""
    return task_at(agreement, round_number).name


def total_rounds(agreement: Agreement) -> int:
    """Rounds of the whole study."""
    return sum(task.rounds for task in agreement.tasks)


def fit_rounds(agreement: Agreement) -> int:
    """Rounds of the recipe; those of the analysis come behind them."""
    return sum(task.rounds for task in agreement.tasks if task.part == "fit")


def release_of(agreement: Agreement, task: Task) -> Release:
    """The noise in one round of `task`.

    Raises:
        PlanError: nothing noises it.
    """
    if agreement.noising is None:
        raise PlanError(task.name, "nothing noises this round")
    return agreement.noising.release(task.name).split(task.rounds)


def charge_of(agreement: Agreement, task: Task) -> Charge:
    """What one round of `task` is charged: its noise, or behind a private synthesizer the table that it is computed from.

    Raises:
        PlanError: nothing pays for it.
    """
    if agreement.plan is not None and isinstance(agreement.plan.stage, SynthesisRelease):
        return DerivedRelease(task.name, agreement.plan.stage)
    return release_of(agreement, task)


def statistic_release(agreement: Agreement, task: Task) -> Release:
    """The units of a statistic, and the noise where `agreement.noising` is not None."""
    if agreement.noising is not None:
        return release_of(agreement, task)
    return Release(task.name, "gaussian", 1.0, clip_l2=task.clip_l2)


def order_settings(agreement: Agreement, round_number: int) -> bytes:
    """The settings part of a round order.

    Everything that a hospital acts on is in the agreement already; the order names it again, so that a hospital which was told something else
    signs another order hash.
    """
    told = canonical({"task": task_of(agreement, round_number), "round": round_number})
    # Canonical JSON sorts by name, so that the training stands behind both.
    return told[:-1] + b',"training":' + _training_settings(agreement.training) + b"}"


@lru_cache(maxsize=8)
def _training_settings(training: Training) -> bytes:
    """The same in every round."""
    return canonical(training.model_dump(mode="json"))


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
    bound, share = agreement.training.parameter_clip, weight(agreement, hospital)
    encoding, vector = fixed_point(agreement), _empty(agreement, hospital)
    for start in range(0, new.size, BLOCK):
        # Block by block, so that what is between two steps stays in the processor's cache.
        here = slice(start, min(start + BLOCK, new.size))
        change = np.clip(new[here], -bound, bound)
        change -= np.clip(old[here], -bound, bound)
        change *= share
        encoding.encode_block(change, vector[here])
    return vector


def count_vector(agreement: Agreement, hospital: str, counts: NDArray[np.int64]) -> Ring:
    """The vector of "life_table": counts of events, then of censorings, (2 intervals,), as they are; never clamped."""
    return _assemble(agreement, hospital, to_ring(counts, agreement.modulus_bits))


def statistic_vector(agreement: Agreement, hospital: str, integers: NDArray[np.int64]) -> Ring:
    """The vector of a statistic: noised integers, (length of the task,), as they are; never clamped."""
    return _assemble(agreement, hospital, to_ring(integers, agreement.modulus_bits))


def _assemble(agreement: Agreement, hospital: str, payload: Ring) -> Ring:
    """Payload, zeros, weight."""
    vector = _empty(agreement, hospital)
    vector[: payload.size] = payload
    return vector


def _empty(agreement: Agreement, hospital: str) -> Ring:
    """Zeros, and the weight."""
    vector = np.zeros(
        agreement.dim, dtype=np.dtype("<u4") if agreement.modulus_bits == 32 else np.dtype("<u8")
    )
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
    # Converted while it is divided: an array of integers as floats would be memory that is new each round.
    return np.divide(payload, share * float(1 << agreement.fraction_bits), out=np.empty(payload.size))


def statistic(
    agreement: Agreement, task: Task, total: NDArray[np.int64], answered: Collection[str]
) -> Statistic:
    """The released sum of a statistic in its own unit, with the noise that is in it."""
    release = statistic_release(agreement, task)
    values = decode_release(payload_of(agreement, total, answered, task.length), release)
    if agreement.noising is None:
        return Statistic(values, 0.0)
    return Statistic(values, release.noise_sd(len(answered), removed_in(agreement, total, answered)))


def removed_in(agreement: Agreement, total: NDArray[np.int64], answered: Collection[str]) -> int:
    """Of how many hospitals the spare layers of noise are out of this sum, as the sum itself says.

    Raises:
        ExchangeError: of more than are in it.
    """
    if not agreement.study.spare_layers:
        return 0
    removed = int(total[REMOVED])
    if not 0 <= removed <= len(answered):
        raise ExchangeError(
            f"the sum says that {removed} hospitals took noise out of it, and {len(answered)} are in it"
        )
    return removed


def without_spare_noise(agreement: Agreement, total: Ring, told: Collection[NDArray[np.int64]]) -> Ring:
    """The sum without what hospitals told of their spare noise, which says of how many that is.

    Args:
        total: (dim,) ring elements, as it was opened.
        told: (length of the task,) each; at most one of each hospital in the sum.
    """
    quiet = total.copy()
    for noise in told:
        quiet[: noise.size] -= to_ring(noise, agreement.modulus_bits)
    # Written, not added: what a hospital uploaded here counts for nothing.
    quiet[REMOVED] = len(told)
    return quiet


def model_bytes(theta: NDArray[np.float64]) -> bytes:
    """Parameters as they travel in a round order: little-endian float64."""
    return theta.astype("<f8", copy=False).tobytes()


def model_view(theta: NDArray[np.float64]) -> memoryview:
    """As `model_bytes`, where they are: for an order that is made while nobody writes to the parameters."""
    return np.ascontiguousarray(theta, dtype="<f8").data.cast("B").toreadonly()


def parse_model(agreement: Agreement, data: bytes, carries: int = 0) -> NDArray[np.float64]:
    """Parameters from a round order, and the `carries` numbers that its task carries behind them.

    Raises:
        ExchangeError: wrong length, a value that is not finite or lies outside the agreed box (a trap model).
    """
    if len(data) != 8 * (agreement.parameters + carries):
        raise ExchangeError(
            f"the model has {len(data) // 8} parameters, the agreement says {agreement.parameters + carries}"
        )
    told = np.frombuffer(data, dtype="<f8")
    theta, bound = np.empty(told.size), 2.0 * agreement.training.parameter_clip
    for start in range(0, told.size, BLOCK):
        block = theta[start : start + BLOCK]
        block[:] = told[start : start + BLOCK]
        # Written so that NaN, for which every comparison is false, counts as outside.
        if not (-bound <= block.min() and block.max() <= bound):
            raise ExchangeError(f"the model has parameters that are not finite or beyond {bound:g}")
    return theta

"""One hospital's share of a training round: local steps on its own patients, noised before anything remembers them.

Under a plan each step draws a Poisson sample of patients, clips each patient's gradient as one vector, makes integers of it,
sums them exactly and adds exact integer noise. Only this noisy sum reaches the optimizer (its moments, the
parameters, the upload): everything after it is post-processing. The denominators come from the declared n_public, never
from the number of patients drawn or present.
"""

from dataclasses import dataclass
from math import cos, pi
from typing import TYPE_CHECKING

import numpy as np

from hospital_node.entropy import DrawnAhead, Entropy, poisson_sample
from hospital_node.survival.follow_up import FollowUp, exit_counts
from hospital_node.survival.model import SurvivalModel, gradient_blocks
from privacy.clipped_blocks import clipped_sum
from privacy.grid import FloatArray
from privacy.mechanisms import Sampler, decode_release, noisy_sum
from privacy.plan import DpPlan, Release
from privacy.training import Training

if TYPE_CHECKING:
    from hospital_node.cohort import Cohort

ADAM_BETAS = (0.9, 0.999)
ADAM_EPSILON = 1e-8
_PATIENTS_AT_ONCE = 2048


class TrainingMismatchError(ValueError):
    """The settings of an order and the plan that pays for it contradict each other."""


def release_life_table(
    cohort: "Cohort", grid_days: FloatArray, plan: DpPlan | None, sampler: Sampler
) -> FloatArray:
    """The hospital's exit histogram, shape (2K,), noised by the plan's release "life_table"; exact without a plan.

    Raises:
        PlanError: the plan pays for no life table.
    """
    exact = exit_counts(cohort, grid_days)
    if plan is None:
        return exact.astype(np.float64)
    release = plan.release("life_table")
    # A patient is one cell, so the histogram in units is the sum of rows of norm D: one summed row stands for them.
    total = noisy_sum((exact * release.units)[None, :], release.scale_units(), sampler)
    return decode_release(total, release)


def train_local(
    model: SurvivalModel,
    theta: FloatArray,
    patients: FollowUp,
    training: Training,
    plan: DpPlan | None,
    n_public: int,
    round_index: int,
    sampler: Sampler,
    entropy: Entropy,
) -> FloatArray:
    """The model after this round's local steps, shape (dim,), each number within the training's parameter_clip.

    Args:
        model: a loss that is a sum over patients.
        theta: (dim,) the round's common model.
        patients: the hospital's, after its stage.
        training: every number the optimizer acts on.
        plan: pays for the release "train"; None only in a study of mode "none".
        n_public: declared size, >= 1.
        round_index: 0 for the first training round; the learning rate falls over all rounds.
        sampler: noise.
        entropy: for the Poisson samples.

    Raises:
        LayoutError: theta is not of this model or not finite.
        TrainingMismatchError: clip, sample rate or number of steps of training and plan differ.
        PlanError: the plan pays for no training.
    """
    current = model.layout.checked(theta).copy()
    release = None if plan is None else _agreed(plan.release("train"), training)
    optimizer = _Optimizer(training, len(current))
    noise = DrawnAhead(sampler, training.local_steps * len(current))
    for step in range(training.local_steps):
        if release is None:
            gradient = model.gradient_sum(current, patients) / n_public
        else:
            total = noisy_gradient(model, current, patients, release, noise, entropy)
            gradient = total / (release.sample_rate * n_public)
        rate = learning_rate(training, round_index * training.local_steps + step)
        current = current + rate * optimizer.direction(gradient)
        current = np.clip(current, -training.parameter_clip, training.parameter_clip)
    return current


def noisy_gradient(
    model: SurvivalModel,
    theta: FloatArray,
    patients: FollowUp,
    release: Release,
    sampler: Sampler,
    entropy: Entropy,
) -> FloatArray:
    """One release of "train": noisy sum of the clipped gradients of a Poisson sample, shape (dim,).

    An empty sample is noised like any other.
    """
    drawn = np.flatnonzero(poisson_sample(len(patients), release.sample_rate, entropy))
    exact = np.zeros(len(theta), dtype=np.int64)
    # So few at a time that nothing leaves the cache or asks the system for memory; none is one empty batch.
    for start in range(0, max(len(drawn), 1), _PATIENTS_AT_ONCE):
        some = patients.among(drawn[start : start + _PATIENTS_AT_ONCE])
        blocks = gradient_blocks(model, theta, some, release.clip_l2)
        exact = exact + clipped_sum(blocks, release.clip_l2, release.units_bits)
    return decode_release(noisy_sum(exact[None, :], release.scale_units(), sampler), release)


def learning_rate(training: Training, step: int) -> float:
    """Rate of a step counted over the whole study: half a cosine from the full rate to its final share.

    Large steps first, because few noisy steps must go far; small ones last, because they average the noise.
    """
    progress = step / (training.rounds * training.local_steps)
    final = training.learning_rate_final_share
    share = final + (1 - final) * 0.5 * (1 + cos(pi * progress))
    return training.learning_rate * share


def _agreed(release: Release, training: Training) -> Release:
    same = (
        release.clip_l2 == training.clip_l2
        and release.sample_rate == training.sample_rate
        and release.steps == training.rounds * training.local_steps
    )
    if not same:
        raise TrainingMismatchError(
            "clip, sample rate or steps of the training differ from the plan's; refuse the order"
        )
    return release


@dataclass(slots=True)
class _Moments:
    first: FloatArray
    second: FloatArray
    steps: int = 0


class _Optimizer:
    """Adam with moments of this round alone, or plain steps; it sees noisy gradients only.

    Fresh moments keep a hospital free of state between rounds: one that missed some rejoins at once.
    """

    def __init__(self, training: Training, dim: int) -> None:
        self._moments = _Moments(np.zeros(dim), np.zeros(dim)) if training.optimizer == "adam" else None

    def direction(self, gradient: FloatArray) -> FloatArray:
        """Where to go, shape (dim,), to be scaled by the learning rate."""
        if self._moments is None:
            return gradient
        kept, (beta1, beta2) = self._moments, ADAM_BETAS
        kept.steps += 1
        kept.first = beta1 * kept.first + (1 - beta1) * gradient
        kept.second = beta2 * kept.second + (1 - beta2) * gradient**2
        mean = kept.first / (1 - beta1**kept.steps)
        spread = np.sqrt(kept.second / (1 - beta2**kept.steps))
        return mean / (spread + ADAM_EPSILON)

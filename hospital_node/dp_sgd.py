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
from numpy.typing import NDArray

from hospital_node.entropy import DrawnAhead, Entropy, SampledAhead
from hospital_node.survival.follow_up import FollowUp, exit_counts
from hospital_node.survival.model import ClosedForm, SurvivalModel
from privacy.guarantees.plan import DpPlan, Release
from privacy.noise.clipped_blocks import clipped_sum
from privacy.noise.mechanisms import Sampler, decode_release, noised, noisy_sum
from privacy.studies.grid import FloatArray, IntArray
from privacy.studies.training import Training

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
    optimizer = _Optimizer(training, len(current))
    private = None
    if plan is not None:
        release = _agreed(plan.release("train"), training)
        private = PrivateGradient(model, patients, release, sampler, entropy, training.local_steps)
    for step in range(training.local_steps):
        if private is None:
            gradient = model.gradient_sum(current, patients) / n_public
        else:
            gradient = private.at(current) / (private.release.sample_rate * n_public)
        rate = learning_rate(training, round_index * training.local_steps + step)
        current = current + rate * optimizer.direction(gradient)
        current = np.clip(current, -training.parameter_clip, training.parameter_clip)
    return current


class PrivateGradient:
    """Releases of "train" on the same patients: noise and samples of all steps are drawn ahead, and what no step changes is made once."""

    def __init__(
        self,
        model: SurvivalModel,
        patients: FollowUp,
        release: Release,
        sampler: Sampler,
        entropy: Entropy,
        steps: int,
    ) -> None:
        """Make ready; nothing is drawn yet.

        Args:
            model: a loss that is a sum over patients.
            patients: the hospital's.
            release: clip, units, noise and sample rate.
            sampler: noise.
            entropy: for the Poisson samples.
            steps: how many releases will be asked for.
        """
        self.release = release
        self._model = model
        self._patients = patients
        self._closed = model if isinstance(model, ClosedForm) else None
        self._prepared = None if self._closed is None else self._closed.prepared(patients, release.units_bits)
        self._noise = DrawnAhead(sampler, steps * model.layout.dim)
        self._samples = SampledAhead(entropy, len(patients), release.sample_rate, steps)
        self._scale = release.scale_units()

    def at(self, theta: FloatArray) -> FloatArray:
        """Noisy sum of the clipped gradients of the next Poisson sample, shape (dim,); an empty one is noised like any other."""
        drawn = self._samples.next()
        # So few at a time that nothing leaves the cache or asks the system for memory; none is one empty batch.
        exact = self._exact(theta, drawn[:_PATIENTS_AT_ONCE])
        for start in range(_PATIENTS_AT_ONCE, len(drawn), _PATIENTS_AT_ONCE):
            exact = exact + self._exact(theta, drawn[start : start + _PATIENTS_AT_ONCE])
        return decode_release(noised(exact, self._scale, self._noise), self.release)

    def _exact(self, theta: FloatArray, drawn: NDArray[np.intp]) -> IntArray:
        """Sum of these patients' clipped gradients in units."""
        clip, bits = self.release.clip_l2, self.release.units_bits
        if self._closed is None or self._prepared is None:
            rows = self._model.clipped_gradients(theta, self._patients.among(drawn), clip)
            return clipped_sum((rows,), clip, bits)
        with np.errstate(all="ignore"):
            blocks = self._closed.gradient_blocks(theta, self._prepared.among(drawn))
            return clipped_sum(blocks, clip, bits)


def noisy_gradient(
    model: SurvivalModel,
    theta: FloatArray,
    patients: FollowUp,
    release: Release,
    sampler: Sampler,
    entropy: Entropy,
) -> FloatArray:
    """One release of "train", shape (dim,)."""
    return PrivateGradient(model, patients, release, sampler, entropy, 1).at(theta)


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

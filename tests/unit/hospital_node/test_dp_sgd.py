from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from hospital_node.cohort import Cohort
from hospital_node.dp_sgd import (
    TrainingMismatchError,
    learning_rate,
    noisy_gradient,
    release_life_table,
    train_local,
)
from hospital_node.entropy import DiscreteGaussian, OsEntropy
from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.piecewise import PiecewiseExponential
from privacy.guarantees.plan import DpPlan, PlanError, Release
from privacy.noise.mechanisms import quantize
from privacy.studies.layout import Layout, LayoutError
from privacy.studies.training import Training
from tests.unit.hospital_node.survival.patients import COLUMNS, GRID, INTERVALS, made_up_cohort

LAYOUT = Layout(INTERVALS, COLUMNS)
MODEL = PiecewiseExponential(LAYOUT)
START = LAYOUT.start(np.full(INTERVALS, -2.0))
TRAINING = Training(
    family="piecewise_exponential",
    recipe="dp_sgd",
    strategy="fedavg",
    rounds=3,
    local_steps=4,
    sample_rate=0.25,
    clip_l2=1.0,
    optimizer="adam",
    learning_rate=0.2,
    learning_rate_final_share=0.1,
    server_learning_rate=1.0,
)
PLAN = DpPlan(
    (
        Release("life_table", "gaussian", 4.0),
        Release("train", "poisson_gaussian", 2.0, sample_rate=0.25, steps=12),
    ),
    3.0,
    1e-5,
)
EXACT = replace(PLAN, releases=tuple(replace(release, noise_multiplier=1e-9) for release in PLAN.releases))


@dataclass
class Recorder:
    """Draws real noise and remembers what it was asked for."""

    asked: list[tuple[int, int]] = field(default_factory=list)

    def draw(self, count: int, scale: int) -> np.ndarray:
        self.asked.append((count, scale))
        return DiscreteGaussian().draw(count, scale)


@dataclass
class Constant:
    """Entropy whose every byte is the same: 0 puts everybody into a sample, 255 nobody."""

    byte: int

    def random_bytes(self, count: int) -> bytes:
        return bytes([self.byte]) * count


EVERYBODY, NOBODY = Constant(0), Constant(255)


def follow_up(n: int) -> FollowUp:
    return FollowUp.of(made_up_cohort(n), GRID)


def trained(patients: FollowUp, **changes: object) -> np.ndarray:
    arguments: dict[str, Any] = {
        "training": TRAINING,
        "plan": EXACT,
        "n_public": 100,
        "round_index": 0,
        "sampler": DiscreteGaussian(),
        "entropy": EVERYBODY,
        "theta": START,
    } | changes
    return train_local(MODEL, patients=patients, **arguments)


@pytest.mark.threat("FL-02", control="C-DP")
def test_every_step_is_noised_on_every_coordinate_as_the_plan_says() -> None:
    recorder = Recorder()
    trained(follow_up(80), plan=PLAN, sampler=recorder, entropy=OsEntropy())
    # Drawn once for all steps of the round.
    assert recorder.asked == [(LAYOUT.dim * TRAINING.local_steps, PLAN.release("train").scale_units())]


@pytest.mark.threat("FL-01", control="C-MINBATCH")
def test_an_empty_sample_is_noised_and_moves_the_model() -> None:
    recorder = Recorder()
    moved = trained(follow_up(80), plan=PLAN, sampler=recorder, entropy=NOBODY)
    assert sum(count for count, _ in recorder.asked) == TRAINING.local_steps * LAYOUT.dim
    assert (moved != START).all()


def test_a_hospital_without_patients_trains_like_any_other() -> None:
    assert (trained(follow_up(0), plan=PLAN, entropy=OsEntropy()) != START).all()


def test_noise_has_the_size_of_the_plan() -> None:
    release, nobody = PLAN.release("train"), follow_up(0)
    draws = [
        noisy_gradient(MODEL, START, nobody, release, DiscreteGaussian(), OsEntropy()) for _ in range(400)
    ]
    # 5,200 draws: the sample deviation is within 4 % of the truth, four times over.
    assert np.std(draws) == pytest.approx(2.0, rel=0.04)


@pytest.mark.threat("FL-20", control="C-CLIPUPDATE")
def test_one_more_patient_moves_the_integer_sum_by_at_most_one_clip() -> None:
    patients = follow_up(40)
    twice = FollowUp(
        *(np.vstack([part, part[:1]]) for part in (patients.x, patients.exposure, patients.events))
    )
    theta = np.full(LAYOUT.dim, 1.5)
    sums = [
        quantize(MODEL.clipped_gradients(theta, group, 1.0), 1.0).sum(axis=0) for group in (patients, twice)
    ]
    moved = np.linalg.norm((sums[1] - sums[0]).astype(np.float64))
    assert 0.999 * 2**40 < moved <= 2**40


@pytest.mark.parametrize("value", [1e6, 1e200, np.nan, np.inf])
def test_no_patient_can_break_training(value: float) -> None:
    patients = follow_up(40)
    x = patients.x.copy()
    x[0] = value
    result = trained(FollowUp(x, patients.exposure, patients.events))
    assert np.isfinite(result).all()
    assert (np.abs(result) <= TRAINING.parameter_clip).all()


def test_the_denominator_is_the_declared_size_never_the_count() -> None:
    sgd = TRAINING.model_copy(update={"optimizer": "sgd", "local_steps": 1, "rounds": 12})
    patients = follow_up(80)
    steps = [trained(patients, training=sgd, n_public=n) - START for n in (100, 200)]
    np.testing.assert_allclose(steps[0], 2 * steps[1], atol=1e-9)
    expected = MODEL.clipped_gradients(START, patients, 1.0).sum(axis=0) / (0.25 * 100)
    # Factors of an outer product are integers of 20 bits.
    np.testing.assert_allclose(steps[0], sgd.learning_rate * expected, atol=1e-6)


def test_no_parameter_leaves_its_public_bound() -> None:
    wild = TRAINING.model_copy(update={"optimizer": "sgd", "learning_rate": 1e6})
    result = trained(follow_up(80), training=wild, plan=PLAN, entropy=OsEntropy())
    assert (np.abs(result) == TRAINING.parameter_clip).any()
    assert (np.abs(result) <= TRAINING.parameter_clip).all()


def test_without_a_plan_the_gradient_is_exact_and_whole() -> None:
    none = TRAINING.model_copy(update={"optimizer": "sgd", "local_steps": 1, "recipe": "full_batch"})
    patients = follow_up(80)
    moved = trained(patients, training=none, plan=None, entropy=NOBODY) - START
    np.testing.assert_allclose(moved, 0.2 * MODEL.gradient_sum(START, patients) / 100, atol=1e-15)


def test_the_rate_falls_over_all_rounds_to_its_final_share() -> None:
    rates = [learning_rate(TRAINING, step) for step in range(13)]
    assert rates[0] == pytest.approx(0.2)
    assert rates[6] == pytest.approx(0.11)
    assert rates[12] == pytest.approx(0.02)
    assert rates == sorted(rates, reverse=True)
    constant = TRAINING.model_copy(update={"learning_rate_final_share": 1.0})
    assert {learning_rate(constant, step) for step in range(13)} == {0.2}


@pytest.mark.parametrize("change", [{"clip_l2": 2.0}, {"sample_rate": 0.5}, {"local_steps": 5}])
def test_settings_that_the_plan_does_not_pay_for_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(TrainingMismatchError, match="refuse the order"):
        trained(follow_up(10), training=TRAINING.model_copy(update=change))


def test_a_release_that_is_not_in_the_plan_is_refused() -> None:
    only = replace(PLAN, releases=PLAN.releases[:1])
    with pytest.raises(PlanError, match="may not leave"):
        trained(follow_up(10), plan=only)
    with pytest.raises(PlanError, match="may not leave"):
        release_life_table(
            made_up_cohort(10), GRID, replace(PLAN, releases=PLAN.releases[1:]), DiscreteGaussian()
        )


def test_a_model_that_is_not_finite_is_refused_before_any_step() -> None:
    recorder, broken = Recorder(), START.copy()
    broken[2] = np.nan
    with pytest.raises(LayoutError):
        trained(follow_up(10), theta=broken, sampler=recorder)
    assert not recorder.asked


def test_the_life_table_is_noised_as_the_plan_says() -> None:
    cohort, recorder = made_up_cohort(200), Recorder()
    exact = release_life_table(cohort, GRID, None, recorder)
    assert not recorder.asked
    assert exact.sum() == 200
    errors = [release_life_table(cohort, GRID, PLAN, recorder) - exact for _ in range(200)]
    assert set(recorder.asked) == {(2 * INTERVALS, 4 * 2**40)}
    assert np.std(errors) == pytest.approx(4.0, rel=0.05)


def test_two_rounds_never_share_noise() -> None:
    patients = follow_up(50)
    runs = [trained(patients, plan=PLAN, entropy=OsEntropy()) for _ in range(2)]
    assert (runs[0] != runs[1]).all()


def test_an_entry_after_zero_shortens_exposure_only() -> None:
    whole = made_up_cohort(30)
    late = Cohort(whole.x, whole.time, whole.event, whole.time / 2)
    early, delayed = FollowUp.of(whole, GRID), FollowUp.of(late, GRID)
    assert (delayed.exposure <= early.exposure).all()
    np.testing.assert_array_equal(delayed.events, early.events)

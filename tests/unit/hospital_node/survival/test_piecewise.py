import numpy as np
import pytest

from hospital_node.survival.follow_up import FollowUp, exit_counts
from hospital_node.survival.piecewise import PiecewiseExponential
from privacy.studies.layout import Layout
from tests.unit.hospital_node.survival.patients import COLUMNS, GRID, INTERVALS, made_up_cohort

LAYOUT = Layout(INTERVALS, COLUMNS)
MODEL = PiecewiseExponential(LAYOUT)


@pytest.fixture
def patients() -> FollowUp:
    return FollowUp.of(made_up_cohort(60), GRID)


@pytest.fixture
def theta() -> np.ndarray:
    return np.random.default_rng(2).normal(0, 0.7, LAYOUT.dim) - np.r_[np.full(INTERVALS, 2.0), 0, 0, 0]


def test_the_life_table_counts_every_patient_once() -> None:
    cohort = made_up_cohort(60)
    table = exit_counts(cohort, GRID)
    assert table.sum() == 60
    assert table[:INTERVALS].sum() == cohort.event.sum()


def test_the_gradient_is_the_slope_of_the_loss(patients: FollowUp, theta: np.ndarray) -> None:
    steps = 1e-6 * np.eye(LAYOUT.dim)
    slopes = [(MODEL.loss(theta + s, patients) - MODEL.loss(theta - s, patients)) / 2e-6 for s in steps]
    np.testing.assert_allclose(MODEL.gradient_sum(theta, patients), -np.array(slopes), atol=1e-6)


def test_without_a_clip_that_bites_rows_add_up_to_the_gradient(patients: FollowUp, theta: np.ndarray) -> None:
    rows = MODEL.clipped_gradients(theta, patients, 1e9)
    np.testing.assert_allclose(rows.sum(axis=0), MODEL.gradient_sum(theta, patients), atol=1e-10)


def test_closed_form_norms_are_the_norms_of_the_rows(patients: FollowUp, theta: np.ndarray) -> None:
    rows = MODEL.clipped_gradients(theta, patients, 1e9)
    np.testing.assert_allclose(MODEL.norms(theta, patients), np.linalg.norm(rows, axis=1), rtol=1e-12)


def test_each_patient_is_clipped_as_one_vector(patients: FollowUp, theta: np.ndarray) -> None:
    whole, clipped = (MODEL.clipped_gradients(theta, patients, clip) for clip in (1e9, 1.0))
    norms = np.linalg.norm(whole, axis=1, keepdims=True)
    assert (norms > 1).any()
    assert (norms < 1).any()
    np.testing.assert_allclose(clipped, whole * np.minimum(1, 1 / norms), rtol=1e-12)


def test_a_huge_gradient_counts_as_the_clip_and_a_broken_one_as_nothing(patients: FollowUp) -> None:
    x = patients.x.copy()
    x[0], x[1], x[2] = 1e6, np.nan, np.inf
    broken = FollowUp(x, patients.exposure, patients.events)
    theta = np.r_[np.full(INTERVALS, -2.0), 0.0, 0.0, 0.0]
    rows = MODEL.clipped_gradients(theta, broken, 1.0)
    np.testing.assert_allclose(np.linalg.norm(rows[0]), 1.0)
    np.testing.assert_array_equal(rows[1:3], 0)
    np.testing.assert_array_equal(rows[3:], MODEL.clipped_gradients(theta, patients, 1.0)[3:])


def test_the_largest_parameters_overflow_nothing(patients: FollowUp) -> None:
    rows = MODEL.clipped_gradients(np.full(LAYOUT.dim, 20.0), patients, 1.0)
    assert np.isfinite(rows).all()
    assert (np.linalg.norm(rows, axis=1) <= 1 + 1e-12).all()


def test_patients_never_print(patients: FollowUp) -> None:
    assert "0." not in repr(patients)

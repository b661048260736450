import numpy as np
import pytest

from hospital_node.survival.follow_up import FollowUp
from hospital_node.survival.model import build_model
from hospital_node.survival.network import Mlp, UnsuitableNetworkError, validated
from privacy.studies.layout import Layout
from tests.unit.hospital_node.survival.patients import COLUMNS, GRID, INTERVALS, made_up_cohort

LAYOUT = Layout(INTERVALS, COLUMNS, (4, 3))
MODEL = Mlp(LAYOUT)
PATIENTS = FollowUp.of(made_up_cohort(25), GRID)
THETA = LAYOUT.start(np.full(INTERVALS, -2.0)) + np.random.default_rng(3).normal(0, 0.6, LAYOUT.dim)


def test_hidden_layers_make_a_network() -> None:
    assert isinstance(build_model(LAYOUT), Mlp)


def test_rows_add_up_to_the_slope_of_the_loss() -> None:
    # The loss is computed by numpy from the layout, the gradients by torch: names and order must agree.
    steps = 1e-6 * np.eye(LAYOUT.dim)
    slopes = [(MODEL.loss(THETA + s, PATIENTS) - MODEL.loss(THETA - s, PATIENTS)) / 2e-6 for s in steps]
    np.testing.assert_allclose(MODEL.gradients(THETA, PATIENTS).sum(axis=0), -np.array(slopes), atol=1e-6)


def test_a_row_is_the_gradient_of_that_patient_alone() -> None:
    rows = MODEL.gradients(THETA, PATIENTS)
    for i in (0, 7, 24):
        alone = PATIENTS.among(np.arange(25) == i)
        np.testing.assert_allclose(rows[i], MODEL.gradient_sum(THETA, alone), atol=1e-12)


def test_each_patient_is_clipped_as_one_vector_over_all_layers() -> None:
    whole = MODEL.gradients(THETA, PATIENTS)
    norms = np.linalg.norm(whole, axis=1, keepdims=True)
    clip = float(np.median(norms))
    clipped = MODEL.clipped_gradients(THETA, PATIENTS, clip)
    np.testing.assert_allclose(clipped, whole * np.minimum(1, clip / norms), rtol=1e-12)


def test_a_broken_patient_counts_as_nothing() -> None:
    x = PATIENTS.x.copy()
    x[4] = np.nan
    rows = MODEL.clipped_gradients(THETA, FollowUp(x, PATIENTS.exposure, PATIENTS.events), 1.0)
    np.testing.assert_array_equal(rows[4], 0)
    np.testing.assert_allclose(
        np.delete(rows, 4, 0), np.delete(MODEL.clipped_gradients(THETA, PATIENTS, 1.0), 4, 0)
    )


def test_an_empty_sample_has_no_rows() -> None:
    assert MODEL.clipped_gradients(THETA, PATIENTS.among(np.zeros(25, dtype=bool)), 1.0).shape == (
        0,
        LAYOUT.dim,
    )


def test_a_layer_that_mixes_patients_is_refused() -> None:
    from torch import nn

    with pytest.raises(UnsuitableNetworkError, match="mixes patients"):
        validated(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)))

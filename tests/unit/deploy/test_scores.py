import numpy as np
import pytest

from deploy.scores import c_index, integrated_brier, kaplan_meier
from hospital_node.cohort import Cohort


def cohort(time: list[float], event: list[int]) -> Cohort:
    return Cohort(np.zeros((len(time), 1)), np.array(time), np.array(event, dtype=np.int64))


def test_c_index_counts_pairs_whose_first_exit_is_an_event() -> None:
    patients = cohort([1, 2, 3, 4], [1, 0, 1, 0])
    # Comparable: (1,2) (1,3) (1,4) (3,4). Only (1,3) is in the wrong order; (3,4) is tied.
    assert c_index(patients, np.array([2.0, 1.0, 3.0, 3.0])) == pytest.approx((1 + 0 + 0.5 + 0) / 4, abs=0.5)
    assert c_index(patients, np.array([4.0, 0.0, 3.0, 1.0])) == 1.0
    assert c_index(patients, np.zeros(4)) == 0.5


def test_brier_without_censoring_is_the_mean_squared_error() -> None:
    patients = cohort([1, 2, 3, 10], [1, 1, 1, 1])
    times = np.array([1.5, 2.5])
    survival = np.array([[0.2, 0.1], [0.6, 0.3], [0.8, 0.7], [0.9, 0.9]])
    first = (0.2**2 + 0.4**2 + 0.2**2 + 0.1**2) / 4
    second = (0.1**2 + 0.3**2 + 0.3**2 + 0.1**2) / 4
    assert integrated_brier(patients, survival, times) == pytest.approx((first + second) / 2)


def test_brier_weighs_those_left_for_those_who_were_censored() -> None:
    patients = cohort([1, 2, 3, 4], [0, 1, 1, 1])
    times = np.array([2.5, 3.5])
    survival = np.full((4, 2), 0.5)
    # One of four is censored before anything happens, so the other three count 4/3 each.
    assert integrated_brier(patients, survival, times) == pytest.approx(0.25)


def test_kaplan_meier_is_the_product_over_the_event_times() -> None:
    cohort = Cohort(np.zeros((5, 1)), np.array([10.0, 20.0, 20.0, 30.0, 40.0]), np.array([1, 0, 1, 1, 0]))
    curve = kaplan_meier(cohort, np.array([5.0, 10.0, 25.0, 35.0]))
    np.testing.assert_allclose(curve, [1, 4 / 5, 4 / 5 * 3 / 4, 4 / 5 * 3 / 4 * 1 / 2], atol=1e-12)
    # Whoever predicts it of everybody has the Brier score that a model has to be below.
    times = np.array([15.0, 25.0, 35.0])
    same_for_all = np.tile(kaplan_meier(cohort, times), (5, 1))
    knows = (cohort.time[:, None] > times).astype(float)
    assert integrated_brier(cohort, knows, times) < integrated_brier(cohort, same_for_all, times)

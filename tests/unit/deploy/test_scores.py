import numpy as np
import pytest

from deploy.scores import c_index, integrated_brier
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

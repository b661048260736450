"""Classes and their measures, by hand and at size."""

import time

import numpy as np
import pytest

from privacy.patients.anonymity import (
    class_sizes,
    closeness,
    distinct,
    drop_small,
    generalize,
    interval_codes,
    measure,
    representatives,
)
from privacy.patients.field import Field


def test_intervals_are_half_open_and_missing_is_its_own() -> None:
    values = np.array([0.0, 39.99, 40.0, 60.0, 99.0, np.nan])
    assert interval_codes(values, (40, 60)).tolist() == [0, 0, 1, 2, 2, 3]


def _number(**extra: object) -> Field:
    base = {
        "name": "x",
        "type": "float",
        "role": "quasi_identifier",
        "purpose": "p",
        "minimum": 0,
        "maximum": 1000,
    }
    return Field.model_validate(base | extra)


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({"cuts": [40, 60]}, [30, 50, 70]),
        ({"cuts": [40, 60, 100]}, [30, 50, 80, 120]),
        ({"cuts": [100]}, [50, 150]),
        ({"cuts": []}, [500]),
        ({"cuts": [9, 99], "log1p": True}, [np.sqrt(10) - 1, np.sqrt(1000) - 1, np.sqrt(100 * 1000) - 1]),
    ],
)
def test_public_values_that_stand_for_intervals(extra: dict[str, object], expected: list[float]) -> None:
    np.testing.assert_allclose(representatives(_number(**extra)), expected, rtol=1e-12)


def test_classes_by_hand() -> None:
    classes = generalize([np.array([0, 0, 1, 1, 0]), np.array([2, 2, 0, 1, 2])], [2, 3])
    assert sorted(class_sizes(classes).tolist()) == [1, 1, 3]
    assert drop_small(classes, 2).tolist() == [True, True, False, False, True]
    assert classes[0] == classes[1] == classes[4]


def test_a_key_wider_than_64_bits() -> None:
    rng = np.random.default_rng(3)
    codes = [rng.integers(0, 2, 500) * 999_999 for _ in range(12)]
    classes = generalize(codes, [1_000_000] * 12)
    expected = np.unique(np.stack(codes, axis=1), axis=0, return_counts=True)[1]
    assert sorted(class_sizes(classes).tolist()) == sorted(expected.tolist())


def test_distinct_l_by_hand() -> None:
    assert distinct(np.array([0, 0, 0, 1, 1]), np.array([5, 5, 7, 1, 1])) == 1
    assert distinct(np.array([0, 0, 0, 1, 1]), np.array([5, 5, 7, 1, 2])) == 2


def test_closeness_by_hand() -> None:
    # Class 0 has its events in the first of three bins, class 1 in the last: each is half the way, 1/2, from the mean.
    classes, bins = np.array([0, 0, 1, 1]), np.array([0, 0, 2, 2])
    assert closeness(classes, bins, np.ones(4, dtype=np.int64), 3) == pytest.approx(0.5)
    assert closeness(classes, np.array([0, 2, 0, 2]), np.ones(4, dtype=np.int64), 3) == pytest.approx(0.0)


def test_closeness_compares_events_and_censorings_separately() -> None:
    # Together the two classes look alike; what differs is who has the event when.
    classes, bins, event = np.array([0, 0, 1, 1]), np.array([0, 1, 0, 1]), np.array([1, 0, 0, 1])
    assert closeness(classes, bins, event, 2) == pytest.approx(0.5)


def test_no_patient_has_no_measure() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert measure(none, [], none, none, 10).k is None


def test_a_million_rows_by_six() -> None:
    rng = np.random.default_rng(0)
    columns = [rng.random(1_000_000) for _ in range(6)]
    started = time.process_time()
    codes = [interval_codes(column, (0.2, 0.4, 0.6, 0.8)) for column in columns]
    classes = generalize(codes, [6] * 6)
    drop_small(classes, 5)
    # The bar is 0.5 s; four times that only catches another complexity on a busy machine.
    assert time.process_time() - started < 2.0

"""Mondrian's classes, against its definition and against its speed."""

import time

import numpy as np
import pytest

from privacy.patients.anonymity import class_sizes
from privacy.patients.mondrian import mondrian


def naive(values: np.ndarray, rows: np.ndarray, k: int) -> list[np.ndarray]:
    """The paper's recursion, one node at a time, on values already divided by their range."""
    spans = np.ptp(values[rows], axis=0)
    for dimension in np.argsort(-spans, kind="stable"):
        if spans[dimension] == 0:
            break
        cells = values[rows, dimension]
        median = np.sort(cells)[len(cells) // 2]
        for right in (cells >= median, cells > median):
            if k <= right.sum() <= len(rows) - k:
                return [*naive(values, rows[~right], k), *naive(values, rows[right], k)]
    return [rows]


@pytest.mark.parametrize("k", [2, 5, 11])
def test_the_same_classes_as_the_recursion(k: int) -> None:
    rng = np.random.default_rng(k)
    values = np.column_stack(
        [rng.normal(50, 15, 400), rng.integers(0, 4, 400), rng.integers(0, 2, 400), rng.exponential(3, 400)]
    )
    found = mondrian(values, k)
    expected = naive(values / np.ptp(values, axis=0), np.arange(400), k)
    assert {frozenset(np.flatnonzero(found == c).tolist()) for c in np.unique(found)} == {
        frozenset(rows.tolist()) for rows in expected
    }
    assert class_sizes(found).min() >= k
    assert sorted(set(found.tolist())) == list(range(len(expected)))


def test_few_or_equal_patients_are_one_class() -> None:
    assert mondrian(np.zeros((9, 2)), 2).tolist() == [0] * 9
    assert mondrian(np.arange(3.0)[:, None], 2).tolist() == [0] * 3
    assert mondrian(np.zeros((0, 2)), 2).tolist() == []


def test_one_patient_more_moves_many_which_is_why_it_has_no_guarantee() -> None:
    rng = np.random.default_rng(3)
    values = rng.normal(size=(3000, 3))
    more = np.vstack([values, values[:1] + 1e-9])

    def bounds(table: np.ndarray) -> np.ndarray:
        found = mondrian(table, 5)
        low = np.array([table[found == c].min(axis=0) for c in range(found.max() + 1)])
        return low[found][:3000]

    moved = (bounds(values) != bounds(more)).any(axis=1).sum()
    assert moved > 5


def test_speed() -> None:
    rng = np.random.default_rng(1)
    values = np.column_stack(
        [rng.normal(size=100_000) for _ in range(3)] + [rng.integers(0, m, 100_000) for m in (2, 5, 20)]
    )
    started = time.process_time()
    found = mondrian(values, 10)
    seconds = time.process_time() - started
    assert class_sizes(found).min() >= 10
    assert seconds < 6, "2 s on a quiet machine"

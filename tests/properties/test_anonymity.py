"""k-anonymity holds, classes are those of a naive grouping, and one patient changes few rows."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from privacy.patients.anonymity import class_sizes, closeness, distinct, drop_small, generalize

SIZES = (3, 4, 2)
ROWS = st.lists(st.tuples(*(st.integers(0, size - 1) for size in SIZES)), min_size=1, max_size=60)


def _classes(rows: list[tuple[int, ...]]) -> np.ndarray:
    return generalize([np.array(column, dtype=np.int64) for column in zip(*rows, strict=True)], SIZES)


@given(ROWS, st.integers(1, 6))
def test_no_class_below_k_is_kept(rows: list[tuple[int, ...]], k: int) -> None:
    kept = [row for row, keep in zip(rows, drop_small(_classes(rows), k), strict=True) if keep]
    counts = Counter(rows)
    assert kept == [row for row in rows if counts[row] >= k]


@given(ROWS)
def test_classes_are_those_of_a_dictionary(rows: list[tuple[int, ...]]) -> None:
    assert sorted(class_sizes(_classes(rows)).tolist()) == sorted(Counter(rows).values())


@given(ROWS, st.integers(2, 5), st.data())
def test_one_patient_changes_at_most_k_rows(rows: list[tuple[int, ...]], k: int, data: st.DataObject) -> None:
    added = data.draw(st.tuples(*(st.integers(0, size - 1) for size in SIZES)))
    before = Counter(row for row, keep in zip(rows, drop_small(_classes(rows), k), strict=True) if keep)
    with_one = [*rows, added]
    after = Counter(
        row for row, keep in zip(with_one, drop_small(_classes(with_one), k), strict=True) if keep
    )
    assert sum((after - before).values()) <= k
    assert not before - after


def test_k_rows_are_attained() -> None:
    rows = [(0, 0, 0)] * 4
    assert drop_small(_classes(rows), 5).sum() == 0
    assert drop_small(_classes([*rows, (0, 0, 0)]), 5).sum() == 5


@given(ROWS, st.data())
def test_l_and_t_against_loops(rows: list[tuple[int, ...]], data: st.DataObject) -> None:
    n, bins = len(rows), 4
    times = np.array(data.draw(st.lists(st.integers(0, bins - 1), min_size=n, max_size=n)), dtype=np.int64)
    events = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)), dtype=np.int64)
    classes = _classes(rows)
    members = {row: [i for i in range(n) if rows[i] == row] for row in set(rows)}
    assert distinct(classes, times) == min(len({int(times[i]) for i in group}) for group in members.values())
    worst = 0.0
    for code in (0, 1):
        everybody = [int(times[i]) for i in range(n) if events[i] == code]
        for group in members.values():
            inside = [int(times[i]) for i in group if events[i] == code]
            if inside:
                worst = max(worst, _emd(inside, everybody, bins))
    assert abs(closeness(classes, times, events, bins) - worst) < 1e-12


def _emd(some: list[int], everybody: list[int], bins: int) -> float:
    """Ordered earth mover's distance as the paper's formula has it: sum of |cumulated differences| / (m - 1)."""
    carried, total = 0.0, 0.0
    for bin_number in range(bins):
        carried += some.count(bin_number) / len(some) - everybody.count(bin_number) / len(everybody)
        total += abs(carried)
    return total / (bins - 1)

"""Mondrian: classes of at least k by splitting at medians. Offered, and without any guarantee for a patient.

The cuts are medians of the data, so one patient more or less can move every cut below: up to 275 of 3,000 rows were
measured to change. A study behind it prints no number (`privacy.guarantees.stage_effect`).

All nodes of one depth are split at once, by sorting rows within nodes. Source: LeFevre, DeWitt & Ramakrishnan 2006,
strict multidimensional partitioning; the widest attribute first, normalized by its range in the whole table.
"""

import numpy as np
from numpy.typing import NDArray

from privacy.patients.anonymity import Codes

Floats = NDArray[np.float64]


def mondrian(values: Floats, k: int) -> Codes:
    """One class number per patient; every class has at least k patients, or there is one class of all.

    Args:
        values: (n, d) quasi-identifiers as numbers, categories as codes, no NaN.
        k: >= 1.

    Returns:
        (n,) numbers from 0 without gaps.
    """
    n = len(values)
    classes = np.zeros(n, dtype=np.int64)
    extent = np.ptp(values, axis=0) if n else np.ones(values.shape[1])
    scaled = values / np.where(extent > 0, extent, 1.0)
    rows, node, found = np.arange(n), np.zeros(n, dtype=np.int64), 0
    while len(rows):
        right, split = _one_level(scaled[rows], node, k)
        done = ~split[node]
        # A finished node becomes the next class; a split one becomes two nodes of the next level.
        number = np.cumsum(~split) - 1
        classes[rows[done]] = found + number[node[done]]
        found += int((~split).sum())
        _, node_next = np.unique(2 * node[~done] + right[~done], return_inverse=True)
        rows, node = rows[~done], node_next.astype(np.int64)
    return classes


def _one_level(values: Floats, node: Codes, k: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """For each row whether it goes right, for each node whether it was split."""
    sizes = np.bincount(node)
    by_node = np.argsort(node, kind="stable")
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    grouped = values[by_node]
    spans = np.maximum.reduceat(grouped, starts, axis=0) - np.minimum.reduceat(grouped, starts, axis=0)
    widest_first = np.argsort(-spans, axis=1, kind="stable")
    split = np.zeros(len(sizes), dtype=bool)
    right = np.zeros(len(node), dtype=bool)
    open_nodes = sizes >= 2 * k
    for rank in range(values.shape[1]):
        chosen = widest_first[:, rank]
        open_nodes &= ~split & (spans[np.arange(len(sizes)), chosen] > 0)
        members = np.flatnonzero(open_nodes[node])
        if not len(members):
            break
        own = node[members]
        cells = values[members, chosen[own]]
        goes_right, worked = _at_medians(cells, own, sizes, k)
        right[members] = np.where(worked[own], goes_right, right[members])
        split |= worked
    return right, split


def _at_medians(
    cells: Floats, node: Codes, sizes: Codes, k: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Split every node of `node` at its median, below against not below, or where that fails not above against above."""
    order = np.lexsort((cells, node))
    here = np.bincount(node, minlength=len(sizes))
    starts = np.concatenate(([0], np.cumsum(here)[:-1]))
    middle = np.minimum(starts + here // 2, len(order) - 1)
    median = cells[order][middle]
    not_below, above = cells >= median[node], cells > median[node]
    count_not_below = np.bincount(node[not_below], minlength=len(sizes))
    count_above = np.bincount(node[above], minlength=len(sizes))
    first = (count_not_below >= k) & (here - count_not_below >= k)
    second = ~first & (count_above >= k) & (here - count_above >= k)
    return np.where(first[node], not_below, above), (first | second) & (here > 0)

"""The table of SPEC.md, section 10.6: recomputed exactly, and its formulas compared with rings that are drawn.

The simulation shares nothing with the formulas: it shuffles hospitals on a ring and counts.
"""

from __future__ import annotations

import math
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from secagg import sparse_table as table
from secagg.errors import ParameterError
from secagg.params import Neighborhood, SecAggParams, default_threshold

SPEC = Path(__file__).parents[2] / "secagg" / "SPEC.md"
ROW = re.compile(
    r"^\| (\d+) \| (\d+) \| (\d+) \| 2\^-(\d+) \| (\d+) \| (\d+) \| (\S+) \| (\S+) \| (\S+) \|$", re.MULTILINE
)
ROWS = [
    (*map(int, found[:6]), *found[6:]) for found in ROW.findall(SPEC.read_text())
]  # n, T, t, correct, k, t_k, E1, E2, correctness


def figure(failure: Fraction) -> str:
    return f"2^-{-math.log2(failure):.1f}" if failure else "0"


def test_the_page_has_every_row() -> None:
    sizes = [(n, n // part, correct) for n in (100, 300, 1000) for part in (5, 3) for correct in (20, 40)]
    assert [(row[0], row[1], row[3]) for row in ROWS] == sizes


@pytest.mark.parametrize("row", ROWS, ids=lambda row: "-".join(map(str, row[:4])))
def test_row_of_the_page(row: tuple) -> None:
    n, colluding, threshold, correct, degree, around, *figures = row
    assert threshold == default_threshold(n, colluding)
    SecAggParams(n, colluding, threshold, 32, 1, Neighborhood(degree, around))
    assert figures == [
        figure(table.neighborhood_failure(n, colluding, degree, around)),
        figure(table.arc_failure(n, colluding, degree, around)),
        figure(table.correctness_failure(n, n // 10, degree, around)),
    ]
    assert table.security_failure(n, colluding, degree, around) <= Fraction(1, 2**44)
    assert table.correctness_failure(n, n // 10, degree, around) <= Fraction(1, 2**correct)
    with pytest.raises(ParameterError):
        SecAggParams(n, colluding, threshold, 32, 1, Neighborhood(degree, around - 1))
    # Two neighbors fewer do not do.
    fewer = table.smallest_threshold(n, colluding, degree - 2)
    assert fewer is None or table.correctness_failure(n, n // 10, degree - 2, fewer) > Fraction(1, 2**correct)


@pytest.mark.slow
def test_the_table_is_made_by_the_module() -> None:
    assert table.rows() == [line for line in SPEC.read_text().splitlines() if ROW.match(line)]


def test_two_thirds_of_64_neighbors_are_not_safe() -> None:
    assert float(table.neighborhood_failure(1000, 333, 64, 43)) > 300
    with pytest.raises(ParameterError):
        SecAggParams(1000, 333, 667, 32, 1, Neighborhood(64, 43))


@pytest.mark.parametrize("chosen", [(5, 4), (0, 0), (4, 2), (4, 5), (6, 5), (8, 8)])
def test_degrees_that_are_none(chosen: tuple[int, int]) -> None:
    with pytest.raises(ParameterError):
        SecAggParams(6, 1, 4, 32, 1, Neighborhood(*chosen))


def rings(n: int, marked: int, count: int, seed: int) -> NDArray[np.int32]:
    """(count, n): 1 where a marked hospital stands."""
    base = np.zeros((count, n), dtype=np.int32)
    base[:, :marked] = 1
    return np.random.default_rng(seed).permuted(base, axis=1)


def behind(ring: NDArray[np.int32], length: int) -> NDArray[np.int32]:
    """(count, n): marked ones in the `length` places behind each place."""
    n = ring.shape[1]
    total = np.concatenate([np.zeros((len(ring), 1), np.int32), np.cumsum(np.tile(ring, 2), axis=1)], axis=1)
    return total[:, 1 + length : 1 + length + n] - total[:, 1 : 1 + n]


def around(ring: NDArray[np.int32], degree: int) -> NDArray[np.int32]:
    """(count, n): marked neighbors of each place."""
    ahead = behind(ring, degree // 2)
    return ahead + np.roll(ahead, degree // 2 + 1, axis=1)


def two_heavy(ring: NDArray[np.int32], length: int, least: int) -> int:
    """Over all rings: pairs of disjoint arcs, apart on both sides, with so many marked ones in each."""
    n = ring.shape[1]
    found = 0
    for row in behind(ring, length) >= least:
        places = np.flatnonzero(row)
        for i, one in enumerate(places):
            gaps = places[i + 1 :] - one
            found += int(((gaps > length) & (n - gaps > length)).sum())
    return found


@pytest.mark.parametrize(
    ("n", "marked", "degree", "least"), [(60, 12, 12, 6), (100, 33, 20, 12), (300, 60, 40, 16)]
)
def test_neighborhoods_come_as_often_as_the_formula_says(
    n: int, marked: int, degree: int, least: int
) -> None:
    """Expected number of places with so many marked neighbors: n minus the marked, times the exact tail."""
    count = 3000
    ring = rings(n, marked, count, 1)
    found = int(((around(ring, degree) >= least) & (ring == 0)).sum())
    threshold = (least + degree) // 2
    assert 2 * threshold - degree == least
    expected = count * float(table.neighborhood_failure(n, marked, degree, threshold))
    assert expected > 100
    # Neighborhoods overlap: the count scatters more than a Poisson one; 3/2 and 2/3 are told apart from 1.
    assert 0.8 < found / expected < 1.25


@pytest.mark.parametrize(
    ("n", "marked", "degree", "threshold"), [(60, 12, 12, 9), (100, 33, 20, 15), (200, 50, 16, 13)]
)
def test_pairs_of_arcs_come_as_often_as_the_formula_says(
    n: int, marked: int, degree: int, threshold: int
) -> None:
    count = 3000
    found = two_heavy(rings(n, marked, count, 2), degree // 2, threshold - degree // 2)
    expected = count * float(table.arc_failure(n, marked, degree, threshold))
    assert expected > 100
    assert 0.75 < found / expected < 1.33


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row[3] == 40], ids=lambda row: "-".join(map(str, row[:2]))
)
def test_nothing_happens_at_the_tables_degree(row: tuple) -> None:
    n, colluding, _, _, degree, threshold, *_ = row
    count = 60_000 // n
    corrupted, silent = rings(n, colluding, count, 3), rings(n, n // 10, count, 4)
    assert not ((around(corrupted, degree) >= 2 * threshold - degree) & (corrupted == 0)).any()
    assert two_heavy(corrupted, degree // 2, threshold - degree // 2) == 0
    assert not ((around(silent, degree) > degree - threshold) & (silent == 0)).any()


def test_survivors_stay_connected_at_small_sizes() -> None:
    """What E2 stands for: whoever drops out, survivors with t_k neighbors left are connected unless two arcs are heavy."""
    n, degree, threshold, marked, half = 40, 8, 6, 8, 4
    rng, seen = np.random.default_rng(5), 0
    for ring in rings(n, marked, 400, 6):
        kept = (ring == 0) & (np.arange(n) // int(rng.integers(2, 9)) % 3 != 0)
        for _ in range(n):  # leave out whoever has too few: corrupted hospitals may always be there
            inside = (kept | (ring == 1)).astype(np.int32)[None]
            kept &= around(inside, degree)[0] >= threshold
        places = np.flatnonzero(kept)
        if len(places) < 2:
            continue
        gaps = int((np.diff(np.append(places, places[0] + n)) > half).sum())
        seen += 1
        assert gaps < 2 or two_heavy(ring[None], half, threshold - half) > 0
    assert seen > 50

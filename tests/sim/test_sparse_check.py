"""Every end state of small sparse graphs over the real machines: one sum at most, over enough hospitals, never both kinds.

That the search sees anything is shown by what it finds once a rule is taken away or the neighbor threshold is one too small.
"""

from __future__ import annotations

import pytest

from secagg.params import Neighborhood, SecAggParams
from tests.sim.sparse_check import (
    AS_BUILT,
    NO_NEIGHBOR_THRESHOLD,
    NO_SIGNATURES,
    SECOND_FINAL_SET,
    SETS_GROW,
    Variant,
    search,
)

# n, T, t, k, t_k, and hospitals that do collude.
CASES = [(5, 1, 4, 4, 3, 1), (6, 1, 4, 4, 3, 1)]
MORE_CASES = [
    (5, 0, 3, 4, 3, 0),
    (5, 1, 4, 4, 3, 0),
    (6, 1, 4, 4, 4, 1),
    (6, 1, 5, 4, 3, 1),
    (6, 1, 4, 2, 2, 1),
    (6, 0, 4, 2, 2, 0),
    (6, 2, 5, 4, 4, 2),
]


def parameters(n: int, colluding: int, threshold: int, degree: int, around: int) -> SecAggParams:
    return SecAggParams(n, colluding, threshold, 32, 1, Neighborhood(degree, around))


def unchecked(n: int, colluding: int, threshold: int, degree: int, around: int) -> SecAggParams:
    """Parameters that `SecAggParams` refuses: the search must show why."""
    params = SecAggParams(n, colluding, threshold, 32, 1)
    object.__setattr__(params, "neighborhood", Neighborhood(degree, around))
    return params


@pytest.mark.threat("FL-07", control="C-CONSIST")
@pytest.mark.threat("FL-08", control="C-ONESHARE")
@pytest.mark.parametrize(
    "case", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in MORE_CASES)]
)
def test_no_end_state_gives_two_sums_or_a_small_one(case: tuple[int, ...]) -> None:
    result = search(parameters(*case[:5]), case[5])
    assert result.violation == ""
    assert result.sums == 1, "the search never reached the end of a round"


@pytest.mark.parametrize(
    ("variant", "case"),
    [
        (NO_NEIGHBOR_THRESHOLD, (6, 1, 4, 2, 2)),
        (NO_SIGNATURES, (5, 1, 4, 4, 3)),
        (SECOND_FINAL_SET, (5, 1, 4, 4, 3)),
        pytest.param(NO_NEIGHBOR_THRESHOLD, (6, 1, 4, 4, 3), marks=pytest.mark.slow),
        pytest.param(NO_SIGNATURES, (6, 1, 4, 4, 3), marks=pytest.mark.slow),
        pytest.param(SECOND_FINAL_SET, (6, 1, 4, 4, 3), marks=pytest.mark.slow),
        pytest.param(SETS_GROW, (5, 1, 4, 4, 3), marks=pytest.mark.slow),
    ],
    ids=lambda value: value.name if isinstance(value, Variant) else "-".join(map(str, value)),
)
def test_every_weakened_variant_is_caught(variant: Variant, case: tuple[int, ...]) -> None:
    assert search(parameters(*case), 1, variant).violation


@pytest.mark.slow
def test_a_neighbor_threshold_missed_by_one_is_caught() -> None:
    assert search(unchecked(6, 1, 4, 4, 2), 1, AS_BUILT).violation

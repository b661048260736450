"""Which sums, taken together, leave one hospital's vector."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.ledgers import participation


def sets(*members: str) -> tuple[frozenset[str], ...]:
    return tuple(frozenset(each) for each in members)


@pytest.mark.parametrize(
    ("summed", "colluding", "found"),
    [
        (sets("abcd"), 0, False),
        (sets("abcd", "abcd"), 1, False),
        (sets("abcd", "abc"), 0, True),
        (sets("abcd", "ab"), 0, False),
        (sets("abcd", "ab"), 1, True),
        (sets("abcdef", "abc"), 1, False),
        # No two differ by one hospital, all three together do: (abc + abd - cd) / 2 ... and so on.
        (sets("abc", "abd", "cd"), 0, True),
        (sets("abcd", "abef", "cdef"), 0, False),
        (sets("abcd", "abef", "cdef"), 1, True),
    ],
)
def test_known_cases(summed: tuple[frozenset[str], ...], colluding: int, found: bool) -> None:
    assert participation.isolates(summed, colluding) is found


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sets(st.sampled_from("abcde"), min_size=1), min_size=1, max_size=4), st.integers(0, 2))
def test_it_is_what_linear_algebra_says(chosen: list[set[str]], colluding: int) -> None:
    """Without classes, by floating-point ranks: some unit vector plus those of a coalition meets the span."""
    matrix = np.array([[name in members for name in "abcde"] for members in chosen], dtype=float)
    rank = np.linalg.matrix_rank(matrix)
    found = any(
        np.linalg.matrix_rank(np.delete(matrix, gone, axis=1)) < rank
        for size in range(1, 2 + colluding)
        for gone in combinations(range(5), size)
    )
    assert participation.isolates([frozenset(members) for members in chosen], colluding) is found

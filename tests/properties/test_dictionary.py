"""Scaling is public: whatever the cells hold, each column stays in [-1, 1] and depends on its own row alone."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tests.study_files import study

DICTIONARY = study().dictionary
NUMBERS = st.floats(allow_nan=True, allow_infinity=False, width=64)
ROW = st.tuples(NUMBERS, NUMBERS, st.sampled_from([0.0, 1.0, 2.0]), st.sampled_from([0.0, 1.0]))


def _encode(rows: list[tuple[float, ...]]) -> np.ndarray:
    columns = zip(*rows, strict=True)
    names = (field.name for field in DICTIONARY.covariates)
    return DICTIONARY.encode({name: np.array(column) for name, column in zip(names, columns, strict=True)})


@given(st.lists(ROW, min_size=1, max_size=20))
def test_bounded_finite_and_row_by_row(rows: list[tuple[float, ...]]) -> None:
    together = _encode(rows)
    assert np.isfinite(together).all()
    assert np.abs(together).max() <= 1.0
    alone = np.concatenate([_encode([row]) for row in rows])
    assert (together == alone).all()

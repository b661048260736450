"""One patient moves the exact integer sum by at most the sensitivity, whatever the floats say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from privacy.guarantees.release import Release
from privacy.noise.mechanisms import noisy_sum, quantize

ANY_FLOAT = st.floats(allow_nan=True, allow_infinity=True, width=64)
# Values around the clip, where rounding could lift a norm over the bound.
NEAR = st.floats(-2.0, 2.0) | st.sampled_from([1.0, 1 - 2**-53, 1 + 2**-52, 0.6, 0.8, 1e-300, 1e6])
ROWS = hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)


class Silent:
    """No noise, so that the exact sum shows."""

    def draw(self, count: int, scale: int) -> list[int]:
        return [0] * count


def squared_norm(row: np.ndarray) -> int:
    return sum(int(value) ** 2 for value in row)


@pytest.mark.threat("FL-30", control="C-QUANT")
@settings(deadline=None, max_examples=150)
@given(
    hnp.arrays(np.float64, ROWS, elements=ANY_FLOAT | NEAR),
    st.sampled_from([1.0, 0.1, 3.7, 1e-9, 1e9]),
    st.integers(8, 52),
)
def test_the_integer_norm_never_exceeds_the_clip(values: np.ndarray, clip: float, bits: int) -> None:
    for row in quantize(values, clip, bits):
        assert squared_norm(row) <= 4**bits


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 400), st.floats(0.01, 100.0))
def test_long_rows_exactly_on_the_clip_stay_within_it(columns: int, clip: float) -> None:
    row = np.full((1, columns), clip / np.sqrt(columns))
    integers = quantize(row, clip)[0]
    assert squared_norm(integers) <= 4**40
    assert squared_norm(integers) > 4**40 * (1 - 1e-7)


@settings(deadline=None, max_examples=100)
@given(hnp.arrays(np.float64, ROWS, elements=NEAR))
def test_short_rows_lose_less_than_a_unit_a_coordinate(values: np.ndarray) -> None:
    norms = np.linalg.norm(values, axis=1)
    short = values[norms < 0.999]
    error = short * 2.0**40 - quantize(short, 1.0)
    assert (np.abs(error) < 1.001).all()
    assert (error * short >= 0).all()


@settings(deadline=None, max_examples=80)
@given(hnp.arrays(np.float64, ROWS, elements=ANY_FLOAT | NEAR), st.integers(0, 5))
def test_a_neighbor_moves_the_sum_by_at_most_the_sensitivity(values: np.ndarray, who: int) -> None:
    release = Release("train", "gaussian", 1.0, clip_l2=0.5)
    rows = quantize(values, release.clip_l2, release.units_bits)
    without = np.delete(rows, who % len(rows), axis=0)
    scale = release.scale_units()
    moved = noisy_sum(rows, scale, Silent()) - noisy_sum(without, scale, Silent())
    assert squared_norm(moved) <= release.sensitivity() ** 2

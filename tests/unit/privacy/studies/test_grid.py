import numpy as np
import pytest

from privacy.studies.grid import GridError, time_grid


def test_boundaries_are_squares_from_zero_to_the_horizon() -> None:
    np.testing.assert_allclose(time_grid(100.0, 10), [0, 1, 4, 9, 16, 25, 36, 49, 64, 81, 100])


@pytest.mark.parametrize(("horizon", "intervals"), [(0.0, 10), (-1.0, 10), (float("nan"), 10), (100.0, 0)])
def test_a_grid_that_cannot_be_made_names_the_key_of_the_study_file(horizon: float, intervals: int) -> None:
    with pytest.raises(GridError, match=r"\[study\]"):
        time_grid(horizon, intervals)

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from privacy.life_table import baseline, counts


def test_each_patient_is_one_cell() -> None:
    table = counts(np.array([0, 0, 2, 2, 1]), np.array([1, 0, 1, 1, 0]), 3)
    np.testing.assert_array_equal(table, [1, 0, 2, 1, 1, 0])


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 1)), min_size=1, max_size=40), st.data())
def test_removing_one_patient_moves_the_table_by_exactly_one(
    exits: list[tuple[int, int]], data: st.DataObject
) -> None:
    without = data.draw(st.integers(0, len(exits) - 1))
    fewer = [exit for i, exit in enumerate(exits) if i != without]

    def table(of: list[tuple[int, int]]) -> np.ndarray:
        return counts(
            np.array([k for k, _ in of], dtype=np.int64), np.array([e for _, e in of], dtype=np.int64), 5
        )

    assert np.linalg.norm(table(exits) - table(fewer)) == 1


def test_baseline_is_the_actuarial_hazard() -> None:
    # 100 at risk: 10 events and 20 censored, then 70 at risk: 7 events and 63 censored.
    np.testing.assert_allclose(
        np.exp(baseline(np.array([10.0, 7.0]), np.array([20.0, 63.0]))), [10 / 85, 7 / 35], rtol=1e-12
    )


def test_noise_below_zero_still_gives_a_hazard_within_bounds() -> None:
    log_hazards = baseline(np.array([-5.0, 3.0, -40.0]), np.array([-2.0, -9.0, 10.0]))
    assert np.isfinite(log_hazards).all()
    assert (np.exp(log_hazards) >= 1e-4 * (1 - 1e-9)).all()
    assert (np.exp(log_hazards) <= 5 * (1 + 1e-9)).all()


def test_more_noise_than_patients_is_held_at_the_highest_hazard() -> None:
    np.testing.assert_allclose(np.exp(baseline(np.array([1e6]), np.array([0.0]))), [2.0])
    np.testing.assert_allclose(np.exp(baseline(np.array([1e6]), np.array([-1e6]))), [2.0])

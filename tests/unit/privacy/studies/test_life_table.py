import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from privacy.studies.life_table import baseline, baseline_slopes, counts, exposure


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


def test_of_the_censorings_at_the_end_those_count_half_that_the_interval_before_lets_expect() -> None:
    events = np.zeros(10) + 0.5
    during, until = np.full(10, 30.0), np.full(10, 30.0)
    during[-1] = until[-1] = 500.0
    during[-2] = 0.0
    # Nobody leaves before the end: all who are censored last were there all the time.
    np.testing.assert_allclose(exposure(events, during, reach_the_end=True)[-1], 500 + 0.25)
    # About 30 of 530 leave in an interval, which is 19 / 17 as long for the last.
    early = 2 * (500 + 0.25 - exposure(events, until, reach_the_end=True)[-1])
    assert 29 < early < 35
    assert exposure(events[:1], until[-1:], reach_the_end=True)[0] == 500.25


def test_slopes_are_those_of_the_baseline() -> None:
    rng, step = np.random.default_rng(2), 1e-4
    events, censored = rng.uniform(20, 60, 6), rng.uniform(20, 60, 6)
    for cell in range(12):
        up, down = (np.concatenate([events, censored]) + sign * step * np.eye(12)[cell] for sign in (1, -1))
        slope = (baseline(up[:6], up[6:]) - baseline(down[:6], down[6:])) / (2 * step)
        np.testing.assert_allclose(baseline_slopes(events, censored)[:, cell], slope, rtol=1e-5, atol=1e-9)

"""Arrays of a table: censoring, exposure and events on the public grid."""

from pathlib import Path

import numpy as np

from hospital_node.cohort import Cohort, build_cohort
from hospital_node.table import read_table
from tests.study_files import study, table, write_csv

GRID = np.array([0.0, 10.0, 40.0, 90.0])


def cohort(times: list[float], events: list[int], entry: list[float] | None = None) -> Cohort:
    """Patients without covariates."""
    return Cohort(
        np.zeros((len(times), 1)),
        np.array(times),
        np.array(events),
        None if entry is None else np.array(entry),
    )


def test_exposure_is_the_exact_share_at_risk() -> None:
    patients = cohort([5, 10, 25, 90], [1, 1, 0, 0])
    expected = [[0.5, 0, 0], [1, 0, 0], [1, 0.5, 0], [1, 1, 1]]
    np.testing.assert_allclose(patients.exposure(GRID), expected)


def test_an_interval_ends_at_its_right_end() -> None:
    patients = cohort([5, 10, 25, 90], [1, 1, 0, 1])
    assert patients.exit_interval(GRID).tolist() == [0, 0, 1, 2]
    assert patients.events(GRID).tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]]


def test_exposure_starts_at_entry() -> None:
    patients = cohort([25, 90], [1, 0], entry=[5, 65])
    np.testing.assert_allclose(patients.exposure(GRID), [[0.5, 0.5, 0], [0, 0, 0.5]])


def test_follow_up_ends_at_the_horizon(tmp_path: Path) -> None:
    frame = table(4).assign(days=["999", "1000", "1000.5", "4000"], dead="1")
    made = build_cohort(read_table(write_csv(frame, tmp_path), study().dictionary), study().dictionary, 1000)
    assert made.time.tolist() == [999, 1000, 1000, 1000]
    assert made.event.tolist() == [1, 1, 0, 0]
    assert made.entry is None
    assert np.abs(made.x).max() <= 1


def test_times_in_months(tmp_path: Path) -> None:
    read = study(('unit = "days"', 'unit = "months"'))
    frame = table(2).assign(days=["1", "2"])
    made = build_cohort(read_table(write_csv(frame, tmp_path), read.dictionary), read.dictionary, 1000)
    assert made.time.tolist() == [30.4375, 60.875]


def test_selection_keeps_rows_together() -> None:
    patients = cohort([5, 10, 25], [1, 0, 1], entry=[1, 2, 3])
    chosen = patients.select(np.array([True, False, True]))
    assert (len(chosen), chosen.time.tolist(), chosen.event.tolist()) == (2, [5, 25], [1, 1])
    assert chosen.entry is not None
    assert chosen.entry.tolist() == [1, 3]


def test_a_cohort_never_prints() -> None:
    assert "731.25" not in repr(cohort([731.25], [1]))

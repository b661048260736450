"""What training sees behind each stage, and the hospital's own report."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from hospital_node.stage import apply_stage
from hospital_node.table import read_table
from privacy.studies.study import Study
from tests.study_files import study, table, write_csv

GROUPS = (
    (
        'role = ["feature", "sensitive"]',
        'role = ["quasi_identifier", "sensitive"]\ncuts = [["0", "2"], ["1"]]',
    ),
)


def staged(
    folder: Path, read: Study, frame: pd.DataFrame
) -> tuple[pd.DataFrame, pd.DataFrame, dict[str, Any]]:
    """Table before, table after, report."""
    before = read_table(write_csv(frame, folder), read.dictionary)
    after, report = apply_stage(before, read)
    return before, after, report.to_json()


def test_none_changes_nothing_and_still_measures(tmp_path: Path) -> None:
    before, after, report = staged(tmp_path, study(('"generalize"', '"none"')), table())
    pd.testing.assert_frame_equal(before, after)
    assert report["before"] == report["after"]
    assert report["quasi_identifiers"] == ("age",)


@pytest.mark.threat("FL-25", control="C-KLT")
def test_training_sees_generalized_values(tmp_path: Path) -> None:
    before, after, report = staged(tmp_path, study(), table().assign(age=["39.9", "40", "61"] * 20))
    assert after["age"].tolist() == [30.0, 50.0, 70.0] * 20
    pd.testing.assert_frame_equal(before.drop(columns="age"), after.drop(columns="age"))
    assert report["before"]["k"] == 20


def test_groups_of_categories_become_their_first(tmp_path: Path) -> None:
    _, after, _ = staged(tmp_path, study(*GROUPS), table().assign(arm=["0", "1", "2"] * 20))
    assert after["arm"].tolist() == ["0", "1", "0"] * 20
    assert list(after["arm"].cat.categories) == ["0", "1", "2"]


@pytest.mark.threat("FL-25", control="C-KLT")
def test_drop_leaves_no_class_below_k(tmp_path: Path) -> None:
    frame = table(13).assign(age=["20"] * 5 + ["50"] * 6 + ["70"] * 2)
    _, after, report = staged(tmp_path, study(('"generalize"', '"drop"')), frame)
    assert after["age"].tolist() == [30.0] * 5 + [50.0] * 6
    assert list(after.index) == list(range(11))
    assert (report["rows_before"], report["rows_after"]) == (13, 11)
    assert (report["before"]["k"], report["after"]["k"]) == (2, 5)


def test_drop_may_leave_nobody(tmp_path: Path) -> None:
    _, after, report = staged(tmp_path, study(('"generalize"', '"drop"'), ("k = 3", "k = 50")), table(9))
    assert len(after) == 0
    assert report["after"] == {"k": None, "l": None, "t": None, "classes": 0}


def test_missing_quasi_identifiers_are_a_class_and_stay_missing(tmp_path: Path) -> None:
    read = study(("cuts = [40, 60]", "cuts = [40, 60]\nmissing = {indicator = true}"))
    _, after, report = staged(tmp_path, read, table(9).assign(age=["20"] * 4 + [""] * 5))
    assert after["age"].isna().tolist() == [False] * 4 + [True] * 5
    assert report["before"]["classes"] == 2


def test_diversity_counts_outcome_and_sensitive_fields(tmp_path: Path) -> None:
    frame = table(8).assign(age="20", days="5", dead=["0", "1"] * 4, arm=["0", "1", "2", "1"] * 2)
    _, _, report = staged(tmp_path, study(), frame)
    # Two outcomes in one time interval, three arms: the fewest is two.
    assert report["before"]["l"] == 2


def test_a_study_without_quasi_identifiers(tmp_path: Path) -> None:
    read = study(('kind = "generalize"', 'kind = "none"'), ('"quasi_identifier"', '"feature"'))
    _, after, report = staged(tmp_path, read, table())
    assert len(after) == 60
    assert report["quasi_identifiers"] == ()
    json.dumps(report)

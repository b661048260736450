"""Study, permission and table: each fault is one sentence, and no value of a patient is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from hospital_node.doctor.extract import ROWS
from hospital_node.entropy import OsEntropy
from hospital_node.epoch_marks import EpochMarks
from hospital_node.findings import about
from tests.doctor_setting import POLICY, Setting
from tests.study_files import table as good_table
from tests.study_files import text, write_csv


def test_study_and_table_that_fit(setting: Setting) -> None:
    outcomes = setting.outcomes(setting.case(), "permission", "data", "roster")
    assert {o.finding.result for o in outcomes.values()} == {"ok"}
    # No count of patients in what is sent to others.
    assert "60" not in outcomes["data"].finding.found


def test_what_is_not_given_is_skipped(setting: Setting) -> None:
    case = setting.case()
    case.study_file = case.data = None
    outcomes = setting.outcomes(case, "permission", "data")
    assert outcomes["study"].finding.result == "skipped"
    assert "--study" in outcomes["study"].finding.remedy
    assert outcomes["data"].since == "study"


def test_a_broken_study(setting: Setting) -> None:
    setting.study.write_text(text(("horizon_days = 1000", "horizon_dys = 1000")))
    found = setting.outcome("study").finding
    assert (found.result, "horizon_days" in found.found) == ("failed", True)


def test_a_study_of_other_hospitals(setting: Setting) -> None:
    setting.study.write_text(text())
    found = setting.outcomes(setting.case(), "roster", "study")["study"].finding
    assert (found.result, "is for a, b, c" in found.found) == ("failed", True)
    assert "roster of this study" in found.remedy


def test_a_study_that_the_policy_does_not_permit(setting: Setting) -> None:
    setting.home.policy.write_text(POLICY.format(anchor="").replace('["test"]', '["other"]'))
    outcomes = setting.outcomes(setting.case(), "permission", "data")
    found = outcomes["permission"].finding
    assert (found.result, "purposes" in found.found) == ("failed", True)
    assert "policy.toml decides" in found.remedy
    assert outcomes["data"].finding.result == "ok"


def test_a_table_that_is_not_there(setting: Setting, tmp_path: Path) -> None:
    setting.data.unlink()
    found = setting.outcome("data").finding
    assert (found.result, "extract.csv" in found.found) == ("failed", True)
    assert f"data check --study {setting.study} --data {setting.data}" in found.remedy


@pytest.mark.parametrize(("column", "value"), [("days", "-417.5"), ("arm", "417.5"), ("age", "P417.5")])
def test_a_table_that_does_not_fit(setting: Setting, column: str, value: str) -> None:
    frame = good_table()
    frame.loc[7, column] = value
    write_csv(frame, setting.data.parent, setting.data.name)
    found = setting.outcome("data").finding
    assert (found.result, f"'{column}'" in found.found) == ("failed", True)
    assert "417" not in found.found + found.remedy
    assert "P00007" not in found.found + found.remedy
    # Nor in how many rows, as `data check` tells the data manager.
    assert " rows" not in found.found


def test_no_number_of_rows_is_told() -> None:
    for rows in (1, 10, 123_456, 2_000_000):
        assert ROWS.sub("", f"is negative {about(rows)}; correct it") == "is negative; correct it"


def test_a_table_that_everybody_may_read(setting: Setting) -> None:
    setting.data.chmod(0o644)
    found = setting.outcome("data").finding
    assert (found.result, found.remedy) == ("warn", f"chmod 640 {setting.data}")


def test_patients_of_another_data_epoch(setting: Setting) -> None:
    """As `run` refuses them; how many there are stays here."""
    patients = set(good_table()["pid"])
    EpochMarks(setting.home.epochs).take("2020", patients, OsEntropy())
    found = setting.outcomes(setting.case(), "policy", "data")["data"].finding
    assert (found.result, "data_epoch in policy.toml" in found.remedy) == ("failed", True)
    assert str(len(patients)) not in found.found
    setting.home.policy.write_text(POLICY.format(anchor="") + 'data_epoch = "2020"\n')
    assert setting.outcomes(setting.case(), "policy", "data")["data"].finding.result == "ok"

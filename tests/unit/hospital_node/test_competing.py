"""Competing risks: codes 0..R are accepted where a study declares them, never counted as censored, and refused by training."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from deploy.study_cli import main as study_main
from hospital_node.check import check_table
from hospital_node.cohort import build_cohort, outcome
from hospital_node.profile import profile
from hospital_node.table import DataError, read_table
from privacy.studies.agreement import build
from privacy.studies.refusals import NotBuilt, StudyError
from privacy.studies.study import Study
from tests.command_lines import run
from tests.study_files import study, table, text, write_csv

INT = ('role = "event"', 'role = "event"\nmaximum = 2')
CATEGORY = ('type = "int"\nrole = "event"', 'type = "category"\ncategories = ["0", "1", "2"]\nrole = "event"')
BOTH = pytest.mark.parametrize("declared", [INT, CATEGORY], ids=["int", "category"])


def competing(n: int = 90) -> pd.DataFrame:
    return table(n).assign(dead=[str(i % 3) for i in range(n)], days=[str(1 + 20 * i) for i in range(n)])


@BOTH
def test_declared_codes_fit_and_are_measured_apart(tmp_path: Path, declared: tuple[str, str]) -> None:
    read = study(declared)
    checked = check_table(write_csv(competing(), tmp_path), read)
    assert checked.fits, checked.findings
    assert checked.table is not None
    time, event = outcome(checked.table, read.dictionary, 1000.0)
    within = np.arange(90) * 20 + 1 <= 1000
    assert event.tolist() == np.where(within, np.arange(90) % 3, 0).tolist()
    assert time.max() == 1000.0
    bars = {c.name: c.bars for c in profile(checked.raw, checked.table, read, ()).columns}["dead"]
    assert [(bar.label, bar.patients) for bar in bars] == [("0", 30), ("1", 30), ("2", 30)]


@BOTH
def test_another_code_is_refused(tmp_path: Path, declared: tuple[str, str]) -> None:
    frame = competing()
    frame.loc[7, ["dead", "pid", "age"]] = ["3", "P-CANARY-77", "73.219571"]
    with pytest.raises(DataError) as caught:
        read_table(write_csv(frame, tmp_path), study(declared).dictionary)
    wanted = (
        "has a category that the study does not list"
        if declared is CATEGORY
        else "has a code other than 0 to 2"
    )
    assert wanted in str(caught.value)
    assert "CANARY" not in str(caught.value)


def test_a_declared_code_that_nobody_has_is_noticed(tmp_path: Path) -> None:
    frame = competing().assign(dead=[str(i % 2) for i in range(90)])
    (note,) = check_table(write_csv(frame, tmp_path), study(INT)).findings
    assert (note.severity, note.column) == ("note", "dead")
    assert "nobody with code 2" in note.problem


@BOTH
def test_no_training_counts_a_competing_risk_as_censored(tmp_path: Path, declared: tuple[str, str]) -> None:
    read = study(declared)
    with pytest.raises(
        NotBuilt, match=r"field 'dead': declares event codes 0 to 2: no model takes competing risks yet"
    ):
        build(read)
    frame = read_table(write_csv(competing(), tmp_path), read.dictionary)
    with pytest.raises(NotBuilt, match="none counts them as censored in silence"):
        build_cohort(frame, read.dictionary, 1000.0)
    (tmp_path / "study.toml").write_text(text(declared))
    for command in ("lint", "price"):
        ran = run(study_main, command, tmp_path / "study.toml")
        assert ran.code == 2
        assert "no model takes competing risks yet" in ran.error()


@pytest.mark.parametrize(
    "wrong",
    ["maximum = 0", "maximum = 1.5", "maximum = 101", "minimum = 1"],
)
def test_codes_without_sense_are_refused(wrong: str) -> None:
    with pytest.raises(StudyError, match="codes of an event"):
        study(('role = "event"', f'role = "event"\n{wrong}'))


def test_categories_of_an_event_have_no_gap() -> None:
    changed = (CATEGORY[0], CATEGORY[1].replace('"2"', '"3"'))
    with pytest.raises(StudyError, match="competing risks follow"):
        study(changed)


def test_one_event_is_as_before() -> None:
    both: list[Study] = [study(), study(('role = "event"', 'role = "event"\nminimum = 0\nmaximum = 1'))]
    assert [s.dictionary.event.highest_event for s in both] == [1, 1]

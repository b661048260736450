"""`data check`: each mistake one sentence, all of them at once, and never a patient's value."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from hospital_node import extract, row_rules
from hospital_node.check import Checked, check_table
from hospital_node.cli import app
from hospital_node.table import read_table
from tests.study_files import study, table, text, write_csv

CANARIES = ("zanzibar", "P-CANARY-77", "73.219571", "4711")
EXPECTED = (
    ('role = "event"', 'role = "event"\nexpected = [0.05, 0.6]'),
    ('source = "human life span"', 'source = "human life span"\nexpected = [40, 80]'),
    ('type = "bool"', 'type = "bool"\nexpected = [0.1, 0.7]'),
)


def canary_table(n: int = 60) -> pd.DataFrame:
    """A table whose eighth patient nobody may recognize in what is said."""
    frame = table(n).astype(object)
    frame.loc[7, ["pid", "age"]] = ["P-CANARY-77", "73.219571"]
    return frame


def said(checked: Checked) -> list[str]:
    return [finding.sentence for finding in checked.findings]


def run(*arguments: object) -> tuple[int, str]:
    """Exit code and everything printed by the command."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


WRONG_CELLS: list[tuple[str, str, str]] = [
    ("age", "#N/A", "holds a spreadsheet's error text such as #N/A"),
    ("arm", "#REF!", "holds a spreadsheet's error text"),
    ("age", "4,711.5", "has a mark between thousands"),
    ("age", "4711,5", "has a decimal comma"),
    ("age", "<4711", "has a comparison sign before the number"),
    ("age", "4711 kg", "has text behind the number"),
    ("age", "47.11%", "has text behind the number"),
    ("days", "19-Feb-4711", "has a date where a number is declared"),
    ("days", "4711-02-03 00:00:00", "has a date where a number is declared"),
    ("arm", "1. Feb", "has a date where a category is declared"),
    ("arm", "zanzibar", "has a category that the study does not list"),
    ("arm", "Ã¤zanzibar", "holds characters of a wrong encoding"),
    ("days", "0", "is zero or negative"),
]


@pytest.mark.threat("FL-21", control="C-SCHEMA")
@pytest.mark.parametrize(("column", "cell", "sentence"), WRONG_CELLS, ids=[w[1] for w in WRONG_CELLS])
def test_one_sentence_for_a_wrong_cell(tmp_path: Path, column: str, cell: str, sentence: str) -> None:
    frame = canary_table()
    frame.loc[7, column] = cell
    checked = check_table(write_csv(frame, tmp_path), study())
    assert not checked.fits
    (found,) = [s for s in said(checked) if f"column '{column}'" in s]
    assert f"column '{column}' {sentence}" in found
    assert "fewer than 10 rows" in found
    assert not any(canary in found for canary in CANARIES)


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    frame = canary_table()
    frame.loc[3, "days"] = "-1"
    frame.loc[4, "arm"] = "zanzibar"
    frame.loc[5, "smoker"] = "zanzibar"
    frame.loc[6, "pid"] = "P00003"
    checked = check_table(write_csv(frame, tmp_path), study())
    assert [f.column for f in checked.findings if f.severity == "error"] == ["arm", "smoker", "pid", "days"]


def with_months(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(days=(frame["days"].astype(float) / 60).astype(str))


def with_serial_dates(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(days=(frame["days"].astype(float) + 44_000).astype(str))


def swapped(frame: pd.DataFrame) -> pd.DataFrame:
    """Real order: who was followed longest is censored; then the codes exchanged."""
    late = frame["days"].astype(float) > 1000
    events = np.where(late, 0, np.arange(len(frame)) % 2)
    return frame.assign(dead=(1 - events).astype(str))


ODD: list[tuple[Callable[[pd.DataFrame], pd.DataFrame], str, str]] = [
    (with_serial_dates, "error", "column 'days' looks like the day numbers by which a spreadsheet"),
    (with_months, "note", "column 'days' ends for everybody within a twelfth"),
    (swapped, "note", "column 'dead' has more events among the longest followed"),
    (lambda f: f.assign(dead="0"), "note", "column 'dead' has no event"),
    (lambda f: f.assign(dead="1"), "error", "column 'dead' has an event for a share of patients outside"),
    (lambda f: f.assign(smoker="1"), "error", "column 'smoker' is true for a share of patients outside"),
    (
        lambda f: f.assign(age=(f["age"].astype(float) / 3).astype(str)),
        "error",
        "column 'age' has its median outside",
    ),
    (lambda f: f.assign(arm="1"), "note", "column 'arm' has the same value for every patient"),
]


@pytest.mark.parametrize(("change", "severity", "sentence"), ODD, ids=[o[2][:30] for o in ODD])
def test_what_is_odd_in_a_whole_column(
    tmp_path: Path, change: Callable[[pd.DataFrame], pd.DataFrame], severity: str, sentence: str
) -> None:
    checked = check_table(write_csv(change(canary_table()), tmp_path), study(*EXPECTED))
    assert [f.severity for f in checked.findings if f.sentence.startswith(sentence)] == [severity]
    assert checked.fits == (not any(f.severity == "error" for f in checked.findings))


def test_a_sound_table_has_nothing_to_say(tmp_path: Path) -> None:
    checked = check_table(write_csv(table(), tmp_path), study(*EXPECTED))
    assert checked.fits
    assert checked.findings == ()


def test_rows_that_are_equal_without_an_id(tmp_path: Path) -> None:
    without = study(
        (
            '[[field]]\nname = "pid"\ntype = "category"\nrole = "id"\npurpose = "tell patients apart"\n',
            "",
        )
    )
    frame = table().drop(columns="pid")
    frame = pd.concat([frame, frame.iloc[[7]]])
    assert (
        "rows are equal in every column in fewer than 10 rows"
        in said(check_table(write_csv(frame, tmp_path), without))[0]
    )


@pytest.mark.parametrize("expected", ["[2, 1]", "[0.2, 1.2]"])
def test_an_impossible_expectation_is_refused(expected: str) -> None:
    from privacy.studies.study import StudyError

    with pytest.raises(StudyError, match="expected"):
        study(('role = "event"', f'role = "event"\nexpected = {expected}'))


def test_pieces_read_the_same_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = table(130)
    path = write_csv(frame, tmp_path)
    frame.assign(age=frame["age"].astype(float)).to_parquet(tmp_path / "a.parquet")
    whole = read_table(path, study().dictionary)
    monkeypatch.setattr(extract, "ROWS_AT_ONCE", 17)
    pd.testing.assert_frame_equal(read_table(path, study().dictionary), whole)
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.parquet", study().dictionary), whole)
    # Lines that end as old Macintoshes end them, so that the number of rows is not known beforehand.
    (tmp_path / "old.csv").write_bytes(path.read_bytes().replace(b"\n", b"\r"))
    pd.testing.assert_frame_equal(read_table(tmp_path / "old.csv", study().dictionary), whole)
    frame.loc[[3, 99], "age"] = "12 kg"
    (finding,) = check_table(write_csv(frame, tmp_path), study()).findings
    assert finding.column == "age"


def test_rules_look_at_every_piece(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_rules, "ROWS_AT_ONCE", 17)
    frame = canary_table(130)
    frame.loc[[3, 99], "days"] = "-4711"
    frame.loc[:7, "age"] = "4711"
    found = said(check_table(write_csv(frame, tmp_path), study()))
    assert [s for s in found if "zero or negative in fewer than 10 rows" in s]
    # Eight of 130 rows are more than the twentieth that may be clipped, though all of them lie in one piece.
    assert [s for s in found if "column 'age' is outside the study's bounds in fewer than 10 rows" in s]
    frame.loc[:3, "age"] = "50"
    found = said(check_table(write_csv(frame, tmp_path), study()))
    assert not [s for s in found if "column 'age'" in s and "have the study's bounds widened" in s]


@pytest.mark.threat("FL-21", control="C-SCHEMA")
def test_the_command_never_prints_a_patient(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(text())
    frame = canary_table()
    frame.loc[7, "arm"] = "zanzibar"
    path = write_csv(frame.assign(postcode="4711"), tmp_path)
    arguments = ("data", "check", "--study", tmp_path / "study.toml", "--data", path)
    code, output = run(*arguments, "--drop-undeclared")
    assert code == 2
    assert "error: a.csv: column 'arm' has a category" in output
    assert not any(canary in output for canary in CANARIES)
    code, output = run(*arguments, "--drop-undeclared", "--json")
    body = json.loads(output)
    assert (code, body["fits"], body["findings"][0]["column"]) == (2, False, "arm")
    assert not re.search("|".join(CANARIES), output)
    write_csv(table(), tmp_path)
    code, output = run(*arguments)
    assert code == 0
    assert "60 patients fit the dictionary of small" in output


@pytest.mark.parametrize("kind", ["threshold", "level"])
def test_a_stage_that_draws_says_that_nothing_was_drawn_yet(kind: str, tmp_path: Path) -> None:
    extra = "\ndelta = 1e-6" if kind == "threshold" else ""
    stage = f'kind = "{kind}"\nk = 3\nepsilon = 0.5{extra}'
    cuts = ("cuts = [40, 60]", "cuts = [[40, 50, 60], [50]]" if kind == "level" else "cuts = [40, 60]")
    drawn = study(('kind = "generalize"\nk = 3', stage), cuts)
    checked = check_table(write_csv(table(60), tmp_path), drawn)
    assert checked.fits
    assert "drawn and charged when the study starts" in said(checked)[-1]

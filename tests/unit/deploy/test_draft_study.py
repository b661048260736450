"""`wardround-study new`: a file that lint takes after the decisions, with names and types and no value."""

import re
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from deploy.draft_study import draft
from deploy.study_cli import app
from hospital_node.table import DataError, read_table
from privacy.studies.study import parse_study
from privacy.studies.study_remarks import remarks
from tests.study_files import table, write_csv


def canaries(frame: pd.DataFrame) -> set[str]:
    """Every cell that no file may repeat."""
    cells = {str(cell) for column in frame for cell in frame[column]}
    return {cell for cell in cells if len(cell) > 3}


@pytest.mark.threat("FL-21", control="C-SCHEMA")
def test_no_value_of_the_table_is_in_the_draft(tmp_path: Path) -> None:
    frame = table().assign(ward=["zanzibar", "tromso"] * 30)
    text = draft(write_csv(frame, tmp_path))
    assert not any(canary in text for canary in canaries(frame))


def test_a_draft_is_a_study_and_reads_its_table_after_the_decisions(tmp_path: Path) -> None:
    path = write_csv(table(), tmp_path)
    text = draft(path)
    read = parse_study(text, "draft.toml")
    kinds = {field.name: (field.type, field.role) for field in read.fields}
    assert kinds == {
        "pid": ("category", ("id",)),
        "days": ("float", ("time",)),
        "dead": ("bool", ("event",)),
        "age": ("float", ("feature",)),
        "marker": ("float", ("feature",)),
        "arm": ("int", ("feature",)),
        "smoker": ("bool", ("feature",)),
    }
    decided = re.sub(r"maximum = 1 ", "maximum = 1000 ", text)
    assert len(read_table(path, parse_study(decided, "draft.toml").dictionary)) == 60


@pytest.mark.threat("FL-21", control="C-SCHEMA")
def test_a_table_without_a_header_gives_no_draft(tmp_path: Path) -> None:
    path = tmp_path / "bare.csv"
    table().to_csv(path, index=False, header=False)
    with pytest.raises(DataError, match="names of columns belong") as caught:
        draft(path)
    assert not any(canary in str(caught.value) for canary in canaries(table()))


def test_odd_names_stay_what_they_are(tmp_path: Path) -> None:
    frame = table().rename(columns={"age": 'a "b" \\c'}).assign(ward=["x", ""] * 30, empty="")
    text = draft(write_csv(frame, tmp_path, "Äußere tables.csv"))
    read = parse_study(text, "draft.toml")
    assert read.fields[3].name == 'a "b" \\c'
    assert [field.type for field in read.fields[-2:]] == ["category", "category"]
    assert any("the categories of ward" in remark for remark in remarks(read))
    assert read.id == "u-ere-tables" or re.match(r"^[A-Za-z0-9]", read.id)


def test_the_command(tmp_path: Path) -> None:
    path, out = write_csv(table(), tmp_path), tmp_path / "study.toml"
    result = CliRunner().invoke(app, ["new", str(path), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert CliRunner().invoke(app, ["lint", str(out)]).exit_code == 0
    assert CliRunner().invoke(app, ["new", str(path), "--out", str(out)]).exit_code != 0
    with pytest.raises(DataError):
        draft(tmp_path / "none.csv")

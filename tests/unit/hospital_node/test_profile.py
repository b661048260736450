"""The data manager's page: figures that are right, cuts that are public, a file that nobody else reads."""

import re
import stat
from pathlib import Path

import numpy as np
import pandas as pd
from typer.testing import CliRunner

from hospital_node.check import check_table
from hospital_node.cli import app
from hospital_node.coarser import coarser
from hospital_node.profile import Profile, profile
from hospital_node.profile_page import render, write
from hospital_node.table import read_table
from privacy.studies.study import Study
from tests.study_files import study, table, text, write_csv

FINE = (("cuts = [40, 60]", "cuts = [30, 40, 50, 60, 70, 80, 90]"),)
GROUPS = ('role = ["feature", "sensitive"]', 'role = "quasi_identifier"\ncuts = [["0", "2"], ["1"]]')


def profiled(folder: Path, read: Study, frame: pd.DataFrame) -> Profile:
    checked = check_table(write_csv(frame, folder), read)
    return profile(checked.raw, checked.table, read, checked.findings)


def test_figures_are_exact(tmp_path: Path) -> None:
    frame = table(200)
    frame.loc[:9, "marker"] = "-9"
    frame.loc[10:12, "age"] = "104"
    columns = {c.name: c for c in profiled(tmp_path, study(), frame).columns}
    assert (columns["marker"].missing, columns["age"].outside) == (10, 3)
    assert sum(bar.patients for bar in columns["age"].bars) == 200
    assert [bar.patients for bar in columns["arm"].bars] == [
        int((frame["arm"] == label).sum()) for label in "012"
    ]
    assert columns["pid"].bars == ()
    quartiles = np.quantile(frame["age"].astype(float), (0.25, 0.5, 0.75))
    assert np.allclose(columns["age"].quartiles, quartiles)


def test_coarser_cuts_merge_public_ones_only(tmp_path: Path) -> None:
    read = study(*FINE, GROUPS)
    frame = read_table(write_csv(table(300), tmp_path), read.dictionary)
    found = coarser(frame, read)
    assert found is not None
    written = [[version.written for version in step.versions] for step in found.steps]
    assert written == [
        ["[30, 40, 50, 60, 70, 80, 90]", '[["0", "2"], ["1"]]'],
        ["[40, 60, 80]", ""],
        ["[60]", ""],
        ["", ""],
    ]
    ks = [step.measures.k or 0 for step in found.steps]
    assert ks == sorted(ks)
    assert ks[-1] == 300


def test_a_suggestion_reaches_k_when_a_study_is_written_with_it(tmp_path: Path) -> None:
    read = study(*FINE, ("k = 3", "k = 40"))
    path = write_csv(table(300), tmp_path)
    found = coarser(read_table(path, read.dictionary), read)
    assert found is not None
    assert found.suggestion is not None
    assert found.steps[0].measures.k is not None
    assert found.steps[0].measures.k < 40 <= (found.suggestion.measures.k or 0)
    (version,) = found.suggestion.versions
    again = study(("cuts = [40, 60]", f"cuts = {version.written}"), ("k = 3", "k = 40"))
    checked = check_table(path, again)
    assert checked.stage is not None
    assert checked.stage.before.k == found.suggestion.measures.k


def test_the_page_stands_alone_and_names_nobody(tmp_path: Path) -> None:
    frame = table(60).astype(object)
    frame.loc[7, ["pid", "age", "arm"]] = ["P-CANARY-77", "73.219571", "zanzibar<script>"]
    page = render(profiled(tmp_path, study(), frame))
    assert not re.search(r"<script|https?://|url\(|@import|src=", page)
    assert not re.search(r"CANARY|73\.219|zanzibar|P000", page)
    assert "has a category that the study does not list in fewer than 10 rows" in page


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    out = tmp_path / "profile.html"
    out.write_text("older")
    out.chmod(0o644)
    write(profiled(tmp_path, study(), table()), out)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def test_the_command(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(text())
    data, out = write_csv(table(), tmp_path), tmp_path / "profile.html"
    arguments = [
        "data",
        "profile",
        "--study",
        str(tmp_path / "study.toml"),
        "--data",
        str(data),
        "--out",
        str(out),
    ]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "must not leave" in result.output
    assert "<svg" in out.read_text()

"""`wardround-study` as a statistician types it, over a study that runs in seconds."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from deploy.dpo_cli import main as dpo
from deploy.scoring import LABEL
from deploy.study_cli import main
from privacy.noise.noisy_threshold import ThresholdNoise
from tests.command_lines import Ran, run
from tests.consortium import HOSPITALS, MODE_NONE, SMALL
from tests.study_files import table, text, write_csv


def study_file(folder: Path, *changes: tuple[str, str]) -> Path:
    path = folder / "study.toml"
    path.write_text(text(*SMALL, *changes), encoding="utf-8")
    return path


def tables(folder: Path) -> Path:
    """A table for each hospital and held-out patients for two."""
    data = folder / "data"
    data.mkdir()
    for seed, hospital in enumerate(HOSPITALS):
        write_csv(table(60, seed), data, f"{hospital}.csv")
        if hospital in "ab":
            write_csv(table(30, 100 + seed), data, f"{hospital}.test.csv")
    return data


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    folder = tmp_path_factory.mktemp("simulated")
    out = folder / "out"
    arguments = (study_file(folder), "--data", tables(folder), "--out", out, "--json")
    return out, run(main, "simulate", *arguments)


def test_simulate_prints_the_result_that_it_wrote(simulated: tuple[Path, Ran]) -> None:
    out, ran = simulated
    assert ran.code == 0
    body = ran.json()
    assert body == json.loads((out / "result.json").read_text())
    assert body["cohort"] == {"answered": list(HOSPITALS), "missing": []}
    assert body["transport"] == "in_process"
    events = [json.loads(line)["event"] for line in ran.err.splitlines()]
    assert events.count("round_done") == 3


def test_scores_are_of_held_out_patients_and_labeled(simulated: tuple[Path, Ran]) -> None:
    body = simulated[1].json()
    assert body["simulation_only"] == LABEL
    assert body["test"]["n"] == 60
    assert 0 <= body["test"]["c_index"] <= 1
    assert 0 < body["test"]["ibs"] < 1
    assert set(body["baselines"]) == {"pooled_cox", "local_only"}


def test_a_bundle_holds_no_state_of_the_pretended_hospitals(simulated: tuple[Path, Ran]) -> None:
    out, _ = simulated
    names = {p.name for p in out.rglob("*")}
    assert {"pia.json", "pia.html", "model.json", "result.json", "manifest.json"} <= names
    assert not {n for n in names if n.endswith(".db")}
    assert "P00001" not in "".join(p.read_text("utf-8", "replace") for p in out.rglob("*") if p.is_file())


def test_results_and_predict_read_what_simulate_left(simulated: tuple[Path, Ran], tmp_path: Path) -> None:
    out, ran = simulated
    assert run(main, "results", out, "--json").json() == ran.json()
    shown = run(main, "results", out).out
    assert shown.startswith("guarantee: epsilon ")
    assert "in it: a, b, c, d" in shown
    patients = write_csv(table(5, 9), tmp_path, "new.csv")
    curves = tmp_path / "curves.csv"
    predicted = run(main, "predict", out / "model.json", patients, "--out", curves, "--at", 100, "--at", 500)
    assert predicted.code == 0
    assert len(pd.read_csv(curves)) == 5


def test_lint_and_price_before_anything_runs(tmp_path: Path) -> None:
    file = study_file(tmp_path)
    linted = run(main, "lint", file, "--json").json()
    assert (linted["study"], linted["ok"]) == ("small", True)
    priced = run(main, "price", file, "--json").json()
    assert priced["guarantee"]["epsilon"] <= 3.0
    assert priced["warnings"] == []
    network = study_file(tmp_path, ('family = "piecewise_exponential"', 'family = "mlp"'))
    (warning,) = run(main, "price", network, "--json").json()["warnings"]
    assert "a network pays only from epsilon 8" in warning
    file = study_file(tmp_path)
    assert "guarantee: epsilon" in run(main, "price", file).out
    none = (('mode = "local"\nepsilon = 3\ndelta = 1e-5', 'mode = "none"'), ("\nsample_rate = 1.0", ""))
    unpriced = run(main, "price", study_file(tmp_path, *none), "--json").json()
    assert unpriced["guarantee"]["kind"] == "none"
    assert "epsilon" not in unpriced["guarantee"]


def test_price_says_which_classes_a_threshold_keeps(tmp_path: Path) -> None:
    stage = ('kind = "generalize"\nk = 3', 'kind = "threshold"\nk = 3\nepsilon = 0.5\ndelta = 1e-3')
    warnings = run(main, "price", study_file(tmp_path, stage), "--json").json()["warnings"]
    (said,) = [warning for warning in warnings if warning.startswith("stage threshold takes")]
    assert "epsilon 0.5 and delta 0.001 of this, once" in said
    even, sure = map(int, re.findall(r"(?:class of|one of) (\d+)", said))
    noise = ThresholdNoise(0.5, 1e-3)
    assert noise.keep_probability(sure, 3) == 1 > noise.keep_probability(sure - 1, 3)
    assert noise.keep_probability(even, 3) >= 0.5 > noise.keep_probability(even - 1, 3)


def test_an_unknown_key_is_one_sentence_with_the_nearest_known(tmp_path: Path) -> None:
    file = study_file(tmp_path, ("horizon_days", "horizont_days"))
    for command in (
        ("lint", file),
        ("price", file),
        ("simulate", file, "--data", tmp_path, "--out", tmp_path),
    ):
        ran = run(main, *command)
        assert ran.code == 2
        assert "horizont_days" in ran.error()
        assert "horizon_days" in ran.error()


def test_a_cox_model_with_noise_is_refused_with_the_reason(tmp_path: Path) -> None:
    file = study_file(tmp_path, ('family = "piecewise_exponential"', 'family = "cox"'))
    ran = run(main, "lint", file)
    assert ran.code == 1
    assert "cox" in ran.error()


def _rename(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"marker": "markr"})


def _zero_time(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[7, "days"] = "0"
    return frame


def _twice(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[7, "pid"] = frame.loc[3, "pid"]
    return frame


@pytest.mark.threat("FL-21", control="C-SCHEMA")
@pytest.mark.parametrize(("spoil", "named"), [(_rename, "mark"), (_zero_time, "days"), (_twice, "pid")])
def test_a_spoiled_table_ends_a_simulation_with_one_sentence_and_no_value(
    tmp_path: Path, spoil: Callable[[pd.DataFrame], pd.DataFrame], named: str
) -> None:
    data = tables(tmp_path)
    write_csv(spoil(table(60, 2)), data, "c.csv")
    ran = run(main, "simulate", study_file(tmp_path), "--data", data, "--out", tmp_path / "out")
    assert ran.code == 2
    sentence = ran.error()
    assert named in sentence
    assert "P0000" not in sentence
    assert not (tmp_path / "out").exists()


def test_a_missing_table_names_the_file_to_write(tmp_path: Path) -> None:
    data = tables(tmp_path)
    (data / "c.csv").unlink()
    ran = run(main, "simulate", study_file(tmp_path), "--data", data, "--out", tmp_path / "out")
    assert ran.code == 2
    assert "there is no c.csv or c.parquet; write one table per hospital" in ran.error()


def test_one_table_in_place_of_the_folder_of_tables(tmp_path: Path) -> None:
    file = tables(tmp_path) / "a.csv"
    ran = run(main, "simulate", study_file(tmp_path), "--data", file, "--out", tmp_path / "out")
    assert ran.code == 2
    assert (
        f"{file} is no folder; give the folder that holds one table per hospital, such as a.csv"
        in ran.error()
    )


@pytest.mark.parametrize(
    "held",
    [
        {"study": "earlier", "transport": "in_process"},
        {"study": "small", "transport": "mutual_tls_1_3"},
        {"study": "small"},
    ],
)
def test_a_simulation_keeps_the_evidence_of_real_and_of_other_studies(
    tmp_path: Path, held: dict[str, str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "result.json").write_text(json.dumps(held))
    ran = run(main, "simulate", study_file(tmp_path), "--data", tables(tmp_path), "--out", out)
    assert ran.code == 2
    assert "whose evidence would be lost; name another folder by --out" in ran.error()
    assert json.loads((out / "result.json").read_text()) == held


def test_usage_errors_and_missing_files_are_bad_input(tmp_path: Path) -> None:
    assert run(main, "lint").code == 2
    assert run(main, "nothing-like-this").code == 2
    ran = run(main, "lint", tmp_path / "no.toml")
    assert ran.code == 2
    assert "no.toml" in ran.error()


def test_help_shows_an_example_for_every_command() -> None:
    for command in ("lint", "price", "simulate", "results", "predict"):
        shown = run(main, command, "--help")
        assert shown.code == 0
        assert f"Example: wardround-study {command}" in " ".join(shown.out.split())


def test_the_bundle_of_a_simulation_verifies_and_one_byte_spoils_it(
    simulated: tuple[Path, Ran], tmp_path: Path
) -> None:
    assert run(dpo, "verify", simulated[0]).code == 0
    copy = shutil.copytree(simulated[0], tmp_path / "copy")
    result = copy / "evidence" / "result.json"
    result.write_bytes(result.read_bytes().replace(b'"done"', b'"dona"', 1))
    assert run(dpo, "verify", copy).code != 0


def test_a_result_with_intervals_and_one_without_are_both_shown(tmp_path: Path) -> None:
    """What `newton` gives where no eigenvalue drowns in the noise, and what it says where one does."""
    told = {"name": "age", "log_hr": 0.1, "se": 0.02, "ci95": [0.06, 0.14]}
    silent = {"name": "arm", "log_hr": -0.7, "se": None, "ci95": None, "reason": "too much noise"}
    body = {
        "guarantee": {"kind": "none", "reason": "mode none"},
        "cohort": {"answered": ["a"], "missing": []},
        "coefficients": [told, silent],
    }
    (tmp_path / "result.json").write_text(json.dumps(body), encoding="utf-8")
    out = run(main, "results", tmp_path).out
    assert "95 % interval +0.0600 to +0.1400" in out
    assert out.count("no intervals: too much noise") == 1


def test_curve_says_what_each_epsilon_costs_in_noise_and_measures_nothing_without_tables(
    tmp_path: Path,
) -> None:
    path = study_file(tmp_path)
    body = run(main, "curve", path, "--epsilon", "3", "--epsilon", "1", "--json").json()
    assert [point["epsilon"] for point in body["points"]] == [1.0, 3.0]
    low, high = (
        {noise["release"]: noise["noise_multiplier"] for noise in point["noise"]} for point in body["points"]
    )
    assert set(low) == {"life_table", "train"}
    assert all(low[name] > 2 * high[name] for name in low)
    assert [point["test"] for point in body["points"]] == [None, None]
    assert "no utility without tables" in body["utility"]
    figures = [point["epsilon"] for point in body["delta_curve"]]
    assert figures == sorted(figures)
    assert {p["delta"]: p["epsilon"] for p in body["delta_curve"]}[1e-5] == pytest.approx(3.0, rel=1e-3)
    shown = run(main, "curve", path, "--epsilon", "3").out
    assert "epsilon 3: noise multiplier life_table" in shown
    none = study_file(tmp_path, *MODE_NONE)
    assert "no epsilon to vary" in run(main, "curve", none).error()


@pytest.mark.slow
def test_curve_scores_the_study_at_each_epsilon_on_tables(tmp_path: Path) -> None:
    ran = run(main, "curve", study_file(tmp_path), "--epsilon", "3", "--data", tables(tmp_path), "--json")
    (point,) = ran.json()["points"]
    assert point["test"]["n"] == 60
    assert 0 < point["test"]["c_index"] < 1

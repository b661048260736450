"""`wardround-hospital` as an operator types it."""

from __future__ import annotations

import io
import json
import socket
import sqlite3
import stat
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from hospital_node import enrolment, keys, service
from hospital_node.anchor import ONE_VOLUME
from hospital_node.cli import main
from hospital_node.clock import SystemClock
from hospital_node.diagnosis import ConnectProblem
from hospital_node.home import Home
from hospital_node.ledger_store import LedgerStore
from hospital_node.node_words import Outgoing
from hospital_node.service import ask_on_terminal
from tests.command_lines import run
from tests.consortium import SMALL, keys_and_roster, small_agreement
from tests.study_files import table, text, write_csv
from tests.unit.privacy.studies.test_graph_choice import chosen

POLICY = """
epsilon_total = {epsilon}
delta_total = 1e-5
minimum_noise_multiplier = 0.5
minimum_threshold = 3
minimum_cohort = 3
colluding_minimum = 1
families = ["piecewise_exponential"]
stages = ["generalize"]
purposes = ["test"]
modes = ["local"]
allow_mode_none = false
aborted_rounds_maximum = 2
expires = 2999-12-31
"""


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A hospital that has made its keys."""
    home = Home(tmp_path / "home")
    assert run(main, "init", "a", "--home", home.root, "--contact", "Dr. Osei").code == 0
    home.policy.write_text(POLICY.format(epsilon=3.5), encoding="utf-8")
    return home


@pytest.fixture
def study(tmp_path: Path) -> Path:
    path = tmp_path / "study.toml"
    path.write_text(text(*SMALL), encoding="utf-8")
    return path


def spend(home: Home, release: str) -> None:
    """Puts a reserved round of some study into the hospital's ledger."""
    plan = small_agreement().plan
    assert plan is not None
    with LedgerStore(home.ledger, keys.load(home.keys).identity_private, SystemClock()) as ledger:
        ledger.reserve(
            study_hash="00" * 32,
            study_id="earlier",
            session="ab",
            round_number=1,
            release=plan.release(release),
        )


@pytest.mark.threat("FL-24", control="C-LEAST")
def test_init_makes_keys_that_only_their_owner_reads_and_prints_none(tmp_path: Path) -> None:
    root = tmp_path / "home"
    ran = run(main, "init", "a", "--home", root, "--json")
    assert ran.code == 0
    assert set(ran.json()) == {"enrolment", "fingerprints"}
    private = (root / "keys" / "identity.key", root / "keys" / "tls.key")
    for path in private:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = keys.load(root / "keys").identity_private.reveal()
    assert secret.hex() not in ran.out + ran.err + Path(ran.json()["enrolment"]).read_text()
    again = run(main, "init", "a", "--home", root)
    assert again.code == 2
    again.error()


def _rename(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rename(columns={"marker": "markr"})


def _zero_time(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[7, "days"] = "0"
    return frame


def _negative(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[7, "days"] = "-417.5"
    return frame


def _twice(frame: pd.DataFrame) -> pd.DataFrame:
    frame.loc[7, "pid"] = frame.loc[3, "pid"]
    return frame


@pytest.mark.threat("FL-21", control="C-SCHEMA")
@pytest.mark.parametrize(
    ("spoil", "named"),
    [(_rename, "mark"), (_zero_time, "days"), (_negative, "days"), (_twice, "pid")],
)
def test_a_spoiled_table_is_one_sentence_without_a_patients_value(
    tmp_path: Path, study: Path, spoil: Callable[[pd.DataFrame], pd.DataFrame], named: str
) -> None:
    path = write_csv(spoil(table()), tmp_path, "extract.csv")
    ran = run(main, "data", "check", "--study", study, "--data", path)
    assert ran.code == 2
    assert named in ran.error()
    for value in ("P00003", "P00007", "417.5"):
        assert value not in ran.error()


def test_a_good_table_shows_what_the_stage_measured(tmp_path: Path, study: Path) -> None:
    path = write_csv(table(), tmp_path, "extract.csv")
    body = run(main, "data", "check", "--study", study, "--data", path, "--json").json()
    assert body["rows"] == 60
    assert body["stage"]
    said = run(main, "data", "check", "--study", study, "--data", path).out
    after = body["stage"]["after"]
    assert "stage generalize by age: 60 of 60 patients take part, in 3 classes" in said
    for letter, value in (("k", after["k"]), ("l", after["l"]), ("t", f"{after['t']:.3f}")):
        assert f"  {letter} = {value}: " in said
    assert "none of them ever leaves" in said


def test_an_unknown_study_key_is_bad_input(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    path.write_text(text(*SMALL, ("intervals = 10", "interval = 10")), encoding="utf-8")
    ran = run(main, "data", "check", "--study", path, "--data", tmp_path / "x.csv")
    assert ran.code == 2
    assert "intervals" in ran.error()


def test_show_says_what_a_study_costs_without_reading_data(home: Home, study: Path) -> None:
    ran = run(main, "study", "show", "--study", study, "--home", home.root, "--json")
    assert ran.code == 0, ran.err
    body = ran.json()
    assert body["permitted"] is True
    assert body["study_hash"] == small_agreement().hash
    assert 2.9 < body["after"]["epsilon"] <= 3.0
    assert "permitted; per patient" in run(main, "study", "show", "--study", study, "--home", home.root).out
    assert body["closed"] is False


def test_show_says_that_a_study_is_closed(home: Home, study: Path) -> None:
    with LedgerStore(home.ledger, keys.load(home.keys).identity_private, SystemClock()) as ledger:
        ledger.close_study(study_hash=small_agreement().hash, study_id="small")
    shown = ("study", "show", "--study", study, "--home", home.root)
    assert run(main, *shown, "--json").json()["closed"] is True
    assert "closed in this hospital's ledger: nothing more of it is released" in run(main, *shown).out


@pytest.mark.threat("FL-16", control="C-POLICY")
def test_a_budget_that_is_used_up_is_exit_code_4(home: Home, study: Path) -> None:
    spend(home, "train")
    ran = run(main, "study", "show", "--study", study, "--home", home.root)
    assert ran.code == 4
    assert "epsilon_total" in ran.error()
    home.policy.write_text(POLICY.format(epsilon=7.0), encoding="utf-8")
    assert run(main, "study", "show", "--study", study, "--home", home.root).code == 0


def test_a_policy_that_does_not_permit_a_study_is_exit_code_1(home: Home, study: Path) -> None:
    home.policy.write_text(POLICY.format(epsilon=3.5).replace('"test"', '"billing"'), encoding="utf-8")
    ran = run(main, "study", "show", "--study", study, "--home", home.root)
    assert ran.code == 1
    assert "purposes" in ran.error()


@pytest.mark.threat("FL-16", control="C-POLICY")
def test_the_sparse_graph_has_to_be_permitted(home: Home, tmp_path: Path) -> None:
    """Left out and false are one: exit code 1 and a sentence; with true the command says what the graph comes to."""
    sparse = tmp_path / "sparse.toml"
    sparse.write_text(chosen(6, 'graph = "sparse"'), encoding="utf-8")
    plain = POLICY.format(epsilon=3.5)
    for policy in (plain, plain + "allow_sparse_graph = false\n"):
        home.policy.write_text(policy, encoding="utf-8")
        ran = run(main, "study", "show", "--study", sparse, "--home", home.root)
        assert ran.code == 1
        assert (
            "policy.toml refuses by allow_sparse_graph: asked secure aggregation over the sparse graph"
            in ran.error()
        )
    home.policy.write_text(plain + "allow_sparse_graph = true\n", encoding="utf-8")
    ran = run(main, "study", "show", "--study", sparse, "--home", home.root)
    assert ran.code == 0
    assert "secure aggregation over a sparse graph: each of 6 hospitals masks against 4" in ran.out


def test_an_unknown_policy_key_is_bad_input(home: Home, study: Path) -> None:
    home.policy.write_text(POLICY.format(epsilon=3.5) + "epsilon_totl = 9\n", encoding="utf-8")
    ran = run(main, "study", "show", "--study", study, "--home", home.root)
    assert ran.code == 2
    assert "epsilon_total" in ran.error()


def test_a_home_without_a_policy_says_where_an_example_is(home: Home, study: Path) -> None:
    home.policy.unlink()
    for command in (("study", "show", "--study", study), ("ledger",)):
        ran = run(main, *command, "--home", home.root)
        assert ran.code == 2
        assert "policy.toml: is not there; check --home" in ran.error()
        assert "deploy/actg175_policy.toml" in ran.error()
    assert run(main, "study", "show", "--study", study, "--home", home.root / "mistyped").code == 2
    assert not (home.root / "mistyped").exists()


def test_the_ledger_prints_every_charge_and_the_sum(home: Home) -> None:
    spend(home, "life_table")
    ran = run(main, "ledger", "--home", home.root, "--json")
    entry, total = (json.loads(line) for line in ran.out.splitlines())
    assert (entry["seq"], entry["kind"], entry["study_id"]) == (1, "RESERVE", "earlier")
    assert 0 < total["cumulative"]["epsilon"] < 3
    assert "earlier round 1: life_table, 1 steps" in run(main, "ledger", "--home", home.root).out


def test_the_ledger_shows_studies_curve_and_what_one_more_would_cost(home: Home) -> None:
    spend(home, "train")
    body = json.loads(run(main, "ledger", "--home", home.root, "--json").out.splitlines()[-1])
    (study,) = body["studies"]
    assert (study["study_id"], study["rounds_charged"], study["closed"]) == ("earlier", 1, False)
    assert study["cumulative"]["epsilon"] == body["cumulative"]["epsilon"]
    assert {point["delta"]: point["epsilon"] for point in body["curve"]}[1e-5] == body["cumulative"][
        "epsilon"
    ]
    assert body["one_more"]["after"]["epsilon"] > body["cumulative"]["epsilon"]
    assert body["one_more"]["fits"] is False
    shown = run(main, "ledger", "--home", home.root).out
    assert "one more like earlier" in shown
    assert "would be refused" in shown


def test_an_epoch_is_begun_by_a_statement(home: Home, study: Path) -> None:
    spend(home, "train")
    assert run(main, "study", "show", "--study", study, "--home", home.root).code == 4
    assert run(main, "epoch", "it's", "--yes", "--home", home.root).code == 2
    assert run(main, "epoch", "2027", "--yes", "--home", home.root).code == 0
    again = run(main, "epoch", "2027", "--yes", "--home", home.root)
    assert (again.code, "begun before" in again.err) == (1, True)
    ran = run(main, "study", "show", "--study", study, "--home", home.root)
    assert (ran.code, "data_epoch" in ran.error()) == (1, True)
    home.policy.write_text(POLICY.format(epsilon=3.5) + 'data_epoch = "2027"\n', encoding="utf-8")
    assert run(main, "study", "show", "--study", study, "--home", home.root).code == 0
    assert "all epochs together: 2." in run(main, "ledger", "--home", home.root).out


def test_a_ledger_that_somebody_edited_is_refused(home: Home) -> None:
    spend(home, "life_table")
    with sqlite3.connect(home.ledger) as database:
        database.execute("DROP TRIGGER no_update")
        database.execute(
            "UPDATE entries SET line = CAST(replace(CAST(line AS TEXT), 'earlier', 'another') AS BLOB)"
        )
    ran = run(main, "ledger", "--home", home.root)
    assert ran.code == 2
    assert "ledger entry 1" in ran.error()


def test_run_needs_keys_a_roster_and_a_policy_before_it_dials(home: Home, study: Path) -> None:
    ran = run(
        main, "run", "--home", home.root, "--study", study, "--data", "x.csv", "--coordinator", "127.0.0.1:1"
    )
    assert ran.code == 2
    assert "consortium.json is not there: run `enrol`" in ran.error()


@pytest.mark.threat("FL-29", control="C-SELFTEST")
@pytest.mark.parametrize(("spoil", "purpose", "code"), [(_twice, "test", 2), (None, "billing", 1)])
def test_a_table_or_a_policy_that_says_no_is_known_before_anybody_is_called(
    home: Home,
    study: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[pd.DataFrame], pd.DataFrame] | None,
    purpose: str,
    code: int,
) -> None:
    monkeypatch.setattr(enrolment, "load_roster", lambda _: keys_and_roster()[1])
    home.policy.write_text(POLICY.format(epsilon=3.5).replace('"test"', f'"{purpose}"'), encoding="utf-8")
    path = write_csv(table() if spoil is None else spoil(table()), tmp_path, "extract.csv")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        arguments = ("--study", study, "--data", path, "--coordinator", address, "--patience-s", "3")
        ran = run(main, "run", "--home", home.root, *arguments)
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert ran.code == code
    assert "dials" not in ran.out
    assert ran.error()


@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_the_anchor_lies_where_the_policy_says_and_one_volume_is_told(
    home: Home, study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(*_: object, **__: object) -> None:
        raise ConnectProblem("lost", "nobody answers", fatal=True)

    monkeypatch.setattr(enrolment, "load_roster", lambda _: keys_and_roster()[1])
    monkeypatch.setattr(service, "LinkClient", nobody)
    data = write_csv(table(), tmp_path, "extract.csv")
    arguments = ("--study", study, "--data", data, "--coordinator", "127.0.0.1:1")

    def said(anchor: str) -> str:
        named = f'\njournal_anchor = "{anchor}"\n' if anchor else ""
        home.policy.write_text(POLICY.format(epsilon=3.5) + named, encoding="utf-8")
        ran = run(main, "run", "--home", home.root, *arguments)
        return ran.out + ran.err

    assert ONE_VOLUME in said("")
    assert home.anchor("").exists()
    elsewhere = tmp_path / "elsewhere" / "anchor"
    assert "mount or free its volume" in said(str(elsewhere))
    elsewhere.parent.mkdir()
    assert ONE_VOLUME in said(str(elsewhere))
    assert elsewhere.exists()
    monkeypatch.setattr(service, "share_a_volume", lambda *_: False)
    assert ONE_VOLUME not in said(str(elsewhere))


@pytest.mark.parametrize(
    ("typed", "leaves"), [("y\n", True), ("YES\n", True), ("n\n", False), ("\n", False), ("", False)]
)
def test_only_a_yes_lets_something_leave(
    typed: str, leaves: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert ask_on_terminal(Outgoing("upload", 3, "masked vector of round 3")) is leaves
    assert "let this leave the hospital? masked vector of round 3" in capsys.readouterr().err


def test_a_home_is_its_owners_alone(home: Home) -> None:
    for folder in (home.root, home.ledger.parent, home.journal.parent, home.reports):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_help_shows_an_example_for_every_command() -> None:
    for command in (["init"], ["enrol"], ["run"], ["ledger"], ["data", "check"], ["study", "show"]):
        shown = run(main, *command, "--help")
        assert shown.code == 0
        assert f"Example: wardround-hospital {' '.join(command)}" in " ".join(shown.out.split())

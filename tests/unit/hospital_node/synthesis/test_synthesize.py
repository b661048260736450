"""`data synthesize` as a data manager types it: policy, ledger, table, and what may be said of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hospital_node import keys
from hospital_node.cli import main
from hospital_node.clock import SystemClock
from hospital_node.entropy import DiscreteGaussian
from hospital_node.home import Home
from hospital_node.ledger_store import LedgerStore
from hospital_node.synthesis import drawn_once
from privacy.ledgers.ledger import Entry
from privacy.synthesis.request import SDV_STAGE, SynthesisRequest
from tests.command_lines import Ran, run
from tests.study_files import study, table, text, write_csv
from tests.unit.hospital_node.test_cli import POLICY

PERMITS = ('stages = ["generalize"]', 'stages = ["generalize", "synthetic_dp"]')


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A hospital whose policy permits DP synthesis within epsilon 2."""
    home = Home(tmp_path / "home")
    assert run(main, "init", "a", "--home", home.root).code == 0
    home.policy.write_text(POLICY.format(epsilon=2.0).replace(*PERMITS), encoding="utf-8")
    (tmp_path / "study.toml").write_text(text(), encoding="utf-8")
    write_csv(table(400), tmp_path, "extract.csv")
    return home


def synthesize(home: Home, *more: object, out: str = "synthetic.csv") -> Ran:
    folder = home.root.parent
    given = ("--study", folder / "study.toml", "--data", folder / "extract.csv", "--home", home.root)
    return run(main, "data", "synthesize", *given, "--out", folder / out, *more)


def entries(home: Home) -> tuple[Entry, ...]:
    with LedgerStore(home.ledger, keys.load(home.keys).identity_private, SystemClock()) as ledger:
        return ledger.entries()


def kinds(home: Home) -> list[str]:
    return [entry.kind for entry in entries(home)]


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
@pytest.mark.parametrize("name", ["synthetic.csv", "synthetic.parquet"])
def test_a_table_that_data_check_takes_with_its_guarantee_beside_it(home: Home, name: str) -> None:
    ran = synthesize(home, "--epsilon", 1, "--json", out=name)
    assert ran.code == 0, ran.err
    said, out = ran.json(), home.root.parent / name
    assert said["charged"] is True
    assert kinds(home) == ["RESERVE"] * 4 + ["SPENT"] * 4
    body = json.loads(out.with_name(name + ".json").read_text())
    guarantee = body["guarantee"]
    assert guarantee["kind"] == "dp"
    assert 0.98 < guarantee["epsilon"] <= 1
    assert (guarantee["delta"], guarantee["unit"], guarantee["adjacency"]) == (1e-5, "patient", "add/remove")
    assert any("its ledger adds all of it up" in said for said in guarantee["assumptions"])
    assert said["guarantee"] == guarantee
    assert len(body["dictionary_sha256"]) == 64
    assert (
        stat.S_IMODE(out.stat().st_mode)
        == stat.S_IMODE(out.with_name(name + ".json").stat().st_mode)
        == 0o600
    )
    checked = run(main, "data", "check", "--study", home.root.parent / "study.toml", "--data", out, "--json")
    assert checked.code == 0, checked.err
    assert checked.json()["rows"] == body["synthetic_patients"]
    made = pd.read_csv(out) if name.endswith("csv") else pd.read_parquet(out)
    assert list(made) == [field.name for field in study().fields]
    assert not set(made["pid"]) & set(table(400)["pid"])
    assert made["age"].between(0, 100).all()
    assert made["days"].min() > 0
    assert made["days"].max() <= 1000
    assert made["marker"].isna().mean() < 0.5
    total = run(main, "ledger", "--home", home.root, "--json").out.splitlines()[-1]
    assert json.loads(total)["cumulative"]["epsilon"] == pytest.approx(guarantee["epsilon"])


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_asking_again_reads_the_same_sums_and_costs_nothing(home: Home) -> None:
    assert synthesize(home, "--epsilon", 1).code == 0
    (path,) = (home.root / "kept").iterdir()
    sums, charged = path.read_bytes(), kinds(home)
    # Neither the table nor room in the budget is needed any more.
    (home.root.parent / "extract.csv").unlink()
    home.policy.write_text(POLICY.format(epsilon=0.1).replace(*PERMITS), encoding="utf-8")
    again = synthesize(home, "--epsilon", 1, "--patients", 37, "--json", out="more.csv")
    assert again.json()["charged"] is False
    assert again.json()["synthetic_patients"] == 37
    assert path.read_bytes() == sums
    assert kinds(home) == charged
    first, second = (pd.read_csv(home.root.parent / name) for name in ("synthetic.csv", "more.csv"))
    assert not first.head(37).equals(second)


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_beyond_the_budget_it_exits_4_with_asked_spent_and_limit(home: Home) -> None:
    assert synthesize(home, "--epsilon", 1.5).code == 0
    before = kinds(home)
    (home.root.parent / "synthetic.csv").unlink()
    refused = synthesize(home, "--epsilon", 1.6)
    assert refused.code == 4
    for word in ("asked epsilon", "limit 2", "epsilon 1.5 is spent"):
        assert word in refused.error().replace("1.499", "1.5"), refused.err
    assert kinds(home) == before
    assert not (home.root.parent / "synthetic.csv").exists()


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (PERMITS[::-1], "stages"),
        (('modes = ["local"]', 'modes = ["distributed"]'), "modes"),
        (("2999", "1999"), "expires"),
    ],
)
def test_a_policy_is_asked_before_any_data_is_read(home: Home, change: tuple[str, str], named: str) -> None:
    home.policy.write_text(home.policy.read_text().replace(*change), encoding="utf-8")
    (home.root.parent / "extract.csv").unlink()
    refused = synthesize(home, "--epsilon", 1)
    assert refused.code == 1
    assert f"refuses by {named}" in refused.error()
    assert kinds(home) == []


def test_a_table_that_does_not_fit_costs_nothing_and_names_no_value(home: Home) -> None:
    frame = table(400)
    frame.loc[7, "days"] = "-417.5"
    write_csv(frame, home.root.parent, "extract.csv")
    refused = synthesize(home, "--epsilon", 1)
    assert refused.code == 2
    assert "days" in refused.error()
    assert "417" not in refused.err
    assert kinds(home) == []


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
@pytest.mark.parametrize("dies_in", ["draw", "store", "first spend", "third spend", "write"])
def test_a_crash_anywhere_leaves_no_unpaid_table_and_one_drawing(
    home: Home, monkeypatch: pytest.MonkeyPatch, dies_in: str
) -> None:
    spends = 0
    real_spend = LedgerStore.spend

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    def dies_at_spend(self: LedgerStore, **given: Any) -> Entry:
        nonlocal spends
        spends += 1
        if spends == (1 if dies_in == "first spend" else 3):
            raise KeyboardInterrupt
        return real_spend(self, **given)

    with monkeypatch.context() as patched:
        match dies_in:
            case "draw":
                patched.setattr(DiscreteGaussian, "draw", dies)
            case "store":
                patched.setattr(drawn_once, "_stored", dies)
            case "write":
                patched.setattr(pd.DataFrame, "to_csv", dies)
            case _:
                patched.setattr(LedgerStore, "spend", dies_at_spend)
        assert synthesize(home, "--epsilon", 1).code == 130
    assert not (home.root.parent / "synthetic.csv").exists()
    assert kinds(home).count("RESERVE") == (1 if dies_in == "draw" else 4)
    stored = [path.read_bytes() for path in (home.root / "kept").glob("*.json")]
    assert len(stored) == (0 if dies_in in ("draw", "store") else 1)
    again = synthesize(home, "--epsilon", 1, "--json")
    assert again.code == 0, again.err
    assert sorted(kinds(home)) == ["RESERVE"] * 4 + ["SPENT"] * 4
    if stored:
        assert [path.read_bytes() for path in (home.root / "kept").glob("*.json")] == stored


def test_two_processes_at_once_leave_one_drawing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    real = drawn_once._stored
    other: list[bytes] = []

    def other_is_first(path: Path, sums: Any) -> object:
        with monkeypatch.context() as patched:
            patched.setattr(drawn_once, "_stored", real)
            assert synthesize(home, "--epsilon", 1, out="other.csv").code == 0
        other.append(path.read_bytes())
        return real(path, sums)

    monkeypatch.setattr(drawn_once, "_stored", other_is_first)
    assert synthesize(home, "--epsilon", 1).code == 0
    (path,) = (home.root / "kept").iterdir()
    assert [path.read_bytes()] == other
    assert sorted(kinds(home)) == ["RESERVE"] * 4 + ["SPENT"] * 4


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_other_patients_of_a_new_data_epoch_are_drawn_and_paid_anew(home: Home) -> None:
    assert synthesize(home, "--epsilon", 1.5).code == 0
    assert run(main, "epoch", "2027 extract", "--home", home.root, "--yes").code == 0
    home.policy.write_text(home.policy.read_text() + 'data_epoch = "2027 extract"\n', encoding="utf-8")
    same = synthesize(home, "--epsilon", 1.5)
    assert (same.code, "400 of whom an earlier epoch" in same.error()) == (1, True)
    others = table(400).assign(pid=[f"Q{i:05d}" for i in range(400)])
    write_csv(others, home.root.parent, "extract.csv")
    again = synthesize(home, "--epsilon", 1.5, "--json")
    assert again.code == 0, again.err
    assert again.json()["charged"] is True
    assert len(list((home.root / "kept").glob("*.synthesis.json"))) == 2
    assert kinds(home).count("SPENT") == 8


@pytest.mark.parametrize("content", [None, "[", "{}", '{"outcome": 1}'])
def test_lost_sums_are_never_drawn_again(home: Home, content: str | None) -> None:
    assert synthesize(home, "--epsilon", 1).code == 0
    before = kinds(home)
    (path,) = (home.root / "kept").iterdir()
    path.unlink()
    if content is not None:
        path.write_text(content)
    lost = synthesize(home, "--epsilon", 1)
    assert lost.code == 2
    assert "not paid for" in lost.error()
    assert kinds(home) == before


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_other_numbers_or_another_dictionary_are_another_release(home: Home) -> None:
    one = SynthesisRequest.dp(study(), 1.0, 1e-5)
    assert SynthesisRequest.dp(study(('id = "small"', 'id = "other"')), 1.0, 1e-5).hash == one.hash
    assert SynthesisRequest.dp(study(("prognostic", "another reason")), 1.0, 1e-5).hash == one.hash
    others = [
        SynthesisRequest.dp(study(), 1.1, 1e-5),
        SynthesisRequest.dp(study(), 1.0, 2e-5),
        SynthesisRequest.dp(study(("maximum = 100\n", "maximum = 110\n")), 1.0, 1e-5),
        SynthesisRequest.dp(study(("horizon_days = 1000", "horizon_days = 900")), 1.0, 1e-5),
        SynthesisRequest.dp(study(), 1.0, 1e-5, use=("DUO:0000006", "", "small")),
        SynthesisRequest.dp(study(), 1.0, 1e-5, epoch="2027 extract"),
        SynthesisRequest.sdv(study()),
    ]
    assert len({request.hash for request in [one, *others]}) == 1 + len(others)


def test_consent_is_asked_where_the_policy_says_so(home: Home) -> None:
    home.policy.write_text(home.policy.read_text() + "consent_register = true\n", encoding="utf-8")
    assert synthesize(home, "--epsilon", 1).code == 1
    (home.root.parent / "study.toml").write_text(
        text(('purpose = "test"', 'purpose = "test"\nduo = "DUO:0000006"')), encoding="utf-8"
    )
    # There is no register, so nobody takes part; the noise alone is released, and nothing outside looks different.
    ran = synthesize(home, "--epsilon", 1, "--json")
    assert ran.code == 0, ran.err
    assert ran.json()["synthetic_patients"] < 200


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--epsilon", 0),
        ("--epsilon", 1, "--delta", 0.5),
        ("--epsilon", 1, "--engine", "sdv"),
        ("--engine", "sdv"),
        ("--epsilon", 1, "--engine", "gan"),
        ("--epsilon", 1, "--report", "quality.pdf"),
    ],
)
def test_what_makes_no_sense_is_bad_usage(home: Home, arguments: tuple[object, ...]) -> None:
    assert synthesize(home, *arguments).code == 2
    assert synthesize(home, "--epsilon", 1, out="synthetic.xlsx").code == 2
    assert kinds(home) == []


def test_integers_categories_and_years_in_their_own_spelling(home: Home) -> None:
    changes = (
        ('type = "float"\nrole = "time"\nunit = "days"', 'type = "int"\nrole = "time"\nunit = "months"'),
        ('name = "dead"\ntype = "int"', 'name = "dead"\ntype = "category"\ncategories = ["0", "1"]'),
        ('name = "age"\ntype = "float"', 'name = "age"\ntype = "int"'),
        ('categories = ["0", "1", "2"]', 'categories = ["none", "half", "full"]'),
    )
    folder = home.root.parent
    (folder / "study.toml").write_text(text(*changes), encoding="utf-8")
    frame = table(400)
    frame["days"] = np.ceil(frame["days"].astype(float) / 31).astype(int).astype(str)
    frame["age"] = frame["age"].astype(float).astype(int).astype(str)
    frame["arm"] = frame["arm"].map({"0": "none", "1": "half", "2": "full"})
    write_csv(frame, folder, "extract.csv")
    assert synthesize(home, "--epsilon", 2).code == 0
    made = pd.read_csv(folder / "synthetic.csv", dtype=str)
    assert set(made["arm"]) <= {"none", "half", "full"}
    assert made["days"].astype(int).between(1, 32).all()
    assert made["age"].astype(int).between(0, 100).all()
    checked = run(main, "data", "check", "--study", folder / "study.toml", "--data", folder / "synthetic.csv")
    assert checked.code == 0, checked.err


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_sdv_needs_a_policy_that_gives_up_every_number(home: Home) -> None:
    refused = synthesize(home, "--engine", "sdv", "--patients", 100)
    assert refused.code in (1, 2)
    assert kinds(home) == []
    request = SynthesisRequest.sdv(study())
    assert request.guarantee.kind == "none"
    assert request.guarantee.epsilon is None
    assert request.terms.stage == SDV_STAGE.stage
    assert request.terms.mode == "none"


def test_help_names_the_license_and_what_it_excludes() -> None:
    told = run(main, "data", "synthesize", "--help").out
    told = " ".join(told.split())
    for word in ("BUSL-1.1", "excludes a commercial service", "no guarantee"):
        assert word in told

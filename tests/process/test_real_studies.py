"""Studies over real processes and mutual TLS: answers without a model, withdrawals, stages that are drawn, budgets that end."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest

from deploy.actg175 import HOSPITALS, write_demo
from deploy.processes import Line, ProcessGroup
from privacy.link.canonical import sha256_hex
from tests.process.demo_runs import no_process_left
from tests.process.real_studies import Consortium, Study, typed

pytestmark = pytest.mark.slow

OPEN = (
    ('modes = ["local"]', 'modes = ["local", "distributed", "none"]'),
    ("allow_mode_none = false", "allow_mode_none = true"),
    ('families = ["piecewise_exponential", "mlp"]', 'families = ["none"]'),
    ("analyses = []", 'analyses = ["*"]'),
    ('stages = ["none", "generalize", "drop"]', 'stages = ["generalize", "threshold", "level"]'),
)
MEAN = '\n[[analysis.query]]\nname = "mean"\nkind = "mean"\nfield = "karnof"\n'
THRESHOLD = 'kind = "threshold"\nk = 5\nepsilon = 0.5\ndelta = 1e-6'
LEVEL = 'kind = "level"\nk = 5\nepsilon = 0.5'


def changed(text: str, *changes: tuple[str, str]) -> str:
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text


def world(root: Path, *north: tuple[str, str]) -> Consortium:
    """The demo's tables, with a policy that permits what is asked here; `north` changes that hospital's own."""
    write_demo(root / "data")
    policy = changed((root / "data" / "north.policy.toml").read_text(encoding="utf-8"), *OPEN)
    return Consortium.form(root, dict.fromkeys(HOSPITALS, policy) | {"north": changed(policy, *north)})


def write_study(root: Path, name: str, asked: str, *changes: tuple[str, str]) -> Path:
    text = changed(
        (root / "data" / "study.toml").read_text(encoding="utf-8"), ("actg175-demo", name), *changes
    )
    text = re.sub(r"\[model\].*?\n\n", lambda _: f'[model]\nfamily = "none"\n{asked}\n', text, flags=re.S)
    path = root / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return path


def tables(made: Consortium) -> dict[str, Path]:
    return {name: made.root / "data" / f"{name}.csv" for name in made.hospitals}


def price(study: Path) -> dict[str, Any]:
    ran = typed("deploy.study_cli", "price", study, "--json")
    assert ran.code == 0, ran.err
    body: dict[str, Any] = json.loads(ran.out)
    return body


def assert_holds(made: Consortium, study: Study) -> None:
    roster = made.home(made.hospitals[0]).keys / "consortium.json"
    verified = typed("deploy.dpo_cli", "verify", study.out, "--roster", roster, "--json")
    assert (verified.code, json.loads(verified.out)["ok"]) == (0, True), verified.out


def charges(lines: list[dict[str, Any]], study_id: str) -> list[tuple[str, int]]:
    return [(e["kind"], e["round"]) for e in lines if e.get("study_id") == study_id and e["kind"] != "NOTE"]


@pytest.mark.parametrize("mode", ["local", "distributed"])
def test_answers_without_a_model_cost_what_price_says(mode: str, tmp_path: Path) -> None:
    made = world(tmp_path)
    asked = (
        '\n[analysis]\nkaplan_meier_by = ["arms"]\nlog_rank = true\n'
        '\n[[analysis.query]]\nname = "mean-age"\nkind = "mean"\nfield = "age"\nwhere = {symptom = true}\n'
    )
    path = write_study(tmp_path, "answers", asked, ('mode = "local"', f'mode = "{mode}"'))
    priced = price(path)
    study = made.run(path, tables(made))
    assert study.agree(HOSPITALS), study.complaints
    result = study.result
    assert (result["status"], result["cohort"]["answered"]) == ("done", sorted(HOSPITALS))
    assert result["guarantee"] == priced["guarantee"]
    assert result["guarantee"]["epsilon"] <= 3
    results = {answer["name"]: answer for answer in result["analysis"]["results"]}
    arms = results["survival-1"]
    assert [group["group"] for group in arms["groups"]] == [{"arms": str(i)} for i in range(4)]
    noise = {line["name"]: line for line in priced["analysis"]}
    assert arms["noise_sd"] == pytest.approx(noise["survival-1"]["noise_sd"], rel=1e-3)
    assert 0 <= arms["log_rank"]["p_value"] <= 1
    rows = [row for t in tables(made).values() for row in csv.DictReader(t.open(encoding="utf-8"))]
    ill = [float(row["age"]) for row in rows if row["symptom"] == "1"]
    (mean,) = results["mean-age"]["groups"]
    assert abs(mean["mean"] - sum(ill) / len(ill)) < 6 * mean["mean_noise_sd"]
    assert (
        abs(sum(g["patients"] for g in arms["groups"]) - len(rows))
        < 6 * 2 * arms["groups"][0]["patients_noise_sd"]
    )
    assert_holds(made, study)
    paid = [("RESERVE", 1), ("SPENT", 1), ("RESERVE", 2), ("SPENT", 2), ("CLOSE", 0)]
    assert [charges(made.ledger(name), "answers") for name in HOSPITALS] == [paid] * 4
    assert no_process_left(tmp_path)


def test_a_withdrawal_holds_from_the_next_round_on(tmp_path: Path) -> None:
    made = world(tmp_path, ("consent_register = false", "consent_register = true"))
    north, own = made.home("north"), tables(made)
    ids = [row["patient"] for row in csv.DictReader(own["north"].open(encoding="utf-8"))]
    rows = sum(len(path.read_text(encoding="utf-8").splitlines()) - 1 for path in own.values())
    consents = tmp_path / "consents.csv"
    given = "".join(f"{patient},DUO:0000006,permit\n" for patient in ids[2:])
    consents.write_text("patient,purpose,decision\n" + given, encoding="utf-8")
    ran = typed("hospital_node.cli", "consent", "import", consents, "--home", north.root)
    assert ran.code == 0, ran.err
    counts = "".join(f'\n[[analysis.query]]\nname = "count-{i}"\nkind = "count"\n' for i in range(3))
    duo = ('purpose = "Show', 'duo = "DUO:0000006"\npurpose = "Show')
    exact = write_study(tmp_path, "exact", counts, duo, ('mode = "local"\nepsilon = 3', 'mode = "none"'))
    noisy = write_study(tmp_path, "noisy", counts, duo)
    ended = {}
    for path, patient in ((exact, ids[2]), (noisy, ids[3])):

        def revoke_in_round_2(group: ProcessGroup, line: Line, patient: str = patient) -> None:
            event = line.event or {}
            if line.process != "north" or event.get("event") != "confirm":
                return
            if (event["step"], event["round"]) == ("upload", 2):
                # Typed while this round's vector waits for the operator: too late for it, in time for the next.
                ran = typed(
                    "hospital_node.cli",
                    "consent",
                    "revoke",
                    "-",
                    "--home",
                    north.root,
                    answers=f"{patient}\n",
                )
                assert (ran.code, "took part in" in ran.out) == (0, True), ran.out + ran.err
            group["north"].answer("y")

        study = ended[path.stem] = made.run(path, own, revoke_in_round_2, ask=["north"])
        assert study.agree(HOSPITALS), study.complaints
        assert [e["round"] for e in study.said["north"] if e["event"] == "consent"] == [3]
        assert_holds(made, study)
        assert not any(patient in text for text in study.complaints.values())
    found = [answer["groups"][0]["count"] for answer in ended["exact"].result["analysis"]["results"]]
    # Two never consented; one more is gone from the third sum.
    assert found == [rows - 2, rows - 2, rows - 3]
    ledger = made.ledger("north")
    for name, study in ended.items():
        folder = north.reports / "consent" / study.result["study_hash"]
        records = {p.stem: json.loads(p.read_bytes()) for p in folder.glob("*.json") if len(p.stem) == 64}
        assert all(sha256_hex((folder / f"{digest}.json").read_bytes()) == digest for digest in records)
        by_round = {body["round"]: (digest, body) for digest, body in records.items()}
        assert [len(by_round[number][1]["withdrawn"]) for number in (1, 2, 3)] == [0, 0, 1]
        assert by_round[3][1]["action"].startswith("stop")
        notes = [
            e["note"]
            for e in ledger
            if e.get("study_id") == name and "register was asked" in e.get("note", "")
        ]
        assert [by_round[number][0] in note for number, note in enumerate(notes, start=1)] == [True] * 3
    assert by_round[3][1]["affected_rounds"] == [1, 2]
    # Exact sums have no price: nothing may be said of all studies together, to nobody.
    assert ledger[-1]["cumulative"]["kind"] == "none"
    page = typed("hospital_node.cli", "ledger", "--home", north.root).out
    assert "all studies together: no formal guarantee. exact: sums were released without noise" in page
    assert ended["noisy"].result["per_hospital"]["north"]["epsilon_all_studies"] is None
    assert ended["noisy"].result["per_hospital"]["north"]["epsilon"] <= 3


def test_a_stage_is_drawn_once_and_a_budget_ends(tmp_path: Path) -> None:
    made = world(tmp_path)
    one = ("epsilon = 3", "epsilon = 1")
    stage = 'kind = "generalize"\nk = 5'
    drawn: dict[str, bytes] = {}
    folder = made.home("north").root / "kept"
    cuts = (
        ("cuts = [30, 40]", "cuts = [[30, 40, 50, 60], [40]]"),
        ("cuts = [75]", "cuts = [[60, 75, 90], [75]]"),
    )
    for name, kind, more in (
        ("first", THRESHOLD, ()), ("second", THRESHOLD, ()), ("level-1", LEVEL, cuts), ("level-2", LEVEL, cuts),
    ):  # fmt: skip
        path = write_study(tmp_path, name, MEAN, one, (stage, kind), *more)
        assert price(path)["guarantee"]["epsilon"] == pytest.approx(1.5, abs=1e-3)
        study = made.run(path, tables(made))
        assert study.agree(HOSPITALS), study.complaints
        assert_holds(made, study)
        now = {file.name: file.read_bytes() for file in folder.iterdir()}
        again = name in ("second", "level-2")
        assert now == drawn if again else len(now) == len(drawn) + 1
        assert {n: now[n] for n in drawn} == drawn
        drawn = now
        expected = [("RESERVE", 1), ("SPENT", 1), ("CLOSE", 0)]
        ledgers = {h: made.ledger(h) for h in HOSPITALS}
        for ledger in ledgers.values():
            assert charges(ledger, name) == ([] if again else [("RESERVE", 0), ("SPENT", 0)]) + expected
        lines = {line["study_id"]: line for line in ledgers["north"][-1]["studies"]}
        # Alone, a study has the cost of its stage whichever study paid for the drawing.
        assert lines[name]["alone"]["epsilon"] == pytest.approx(1.5, abs=0.05)
    spent = ledgers["north"][-1]["cumulative"]["epsilon"]
    for name in HOSPITALS:
        policy = made.home(name).policy
        policy.write_text(changed(policy.read_text(), ("epsilon_total = 8", "epsilon_total = 3.2")))
    path = write_study(tmp_path, "third", MEAN, one, (stage, THRESHOLD))
    before = {name: made.ledger(name) for name in HOSPITALS}
    study = made.run(path, tables(made))
    assert study.codes == {"coordinator": 3} | dict.fromkeys(HOSPITALS, 4)
    (said,) = [e["text"] for e in study.said["north"] if e["event"] == "study_refused"]
    sentence = re.search(r"asked epsilon ([\d.]+).*limit ([\d.]+) at.*epsilon ([\d.]+) is spent", said)
    assert sentence is not None
    asked, limit, past = sentence.groups()
    assert float(asked) > float(limit) == 3.2
    assert float(past) == pytest.approx(spent, rel=1e-3)
    shown = typed("hospital_node.cli", "study", "show", "--study", path, "--home", made.home("north").root)
    assert (shown.code, said in shown.err) == (4, True)
    # The coordinator hears that they do not come, not what they spent; and nothing more is charged.
    assert "epsilon" not in study.result["reason"]
    assert "budget" not in study.complaints["coordinator"]
    assert {name: made.ledger(name) for name in HOSPITALS} == before
    page = typed("hospital_node.cli", "ledger", "--home", made.home("north").root).out
    for expected_line in (
        "first",
        "second",
        "one more like level-2",
        "would be refused",
        "all studies together: epsilon",
    ):
        assert expected_line in page

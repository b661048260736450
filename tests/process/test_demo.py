"""The demo as a user runs it: real processes, mutual TLS on loopback, a real SIGKILL, budgets that add up."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from privacy.ledger import fold
from privacy.ledger_export import read_export

ROOT = Path(__file__).resolve().parents[2]
HOSPITALS = ["east", "north", "south", "west"]
KILLED_ROUND = 4


@dataclass(frozen=True)
class Demo:
    """One finished demo."""

    folder: Path
    code: int
    text: str

    @property
    def run(self) -> Path:
        return max(self.folder.glob("run-*"))

    @property
    def result(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads((self.run / "result.json").read_text())
        return body

    def rounds(self) -> list[dict[str, Any]]:
        lines = (self.run / "evidence" / "rounds.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]

    def ledger(self, hospital: str) -> dict[int, str]:
        """Round -> RESERVE, SPENT or ABORT, read from the hospital's own file after everything has ended."""
        home = self.folder / "hospitals" / hospital
        from hospital_node import keys
        from hospital_node.clock import SystemClock
        from hospital_node.ledger_store import LedgerStore

        own = keys.load(home / "keys")
        with LedgerStore(home / "state" / "ledger.db", own.identity_private, SystemClock()) as store:
            entries = read_export(store.export(), own.identity_public)
        return {key[2]: state.kind for key, state in fold(entries).items()}


def run_demo(cwd: Path, **environment: str) -> Demo:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.demo"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Demo((cwd / "out" / "demo" / "latest").resolve(), done.returncode, done.stdout + done.stderr)


def no_process_left(folder: Path) -> bool:
    listing = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    return str(folder) not in listing


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, dict[str, Any], Demo]:
    """A demo, its result, and a second one on the same hospitals."""
    cwd = tmp_path_factory.mktemp("twice")
    first = run_demo(cwd)
    result = first.result
    return first, result, run_demo(cwd, KEEP="1")


@pytest.mark.xdist_group("demo-twice")
def test_the_demo_ends_well_and_says_what_a_visitor_needs(twice: tuple[Demo, dict[str, Any], Demo]) -> None:
    demo, result, _ = twice
    assert demo.code == 0, demo.text
    assert result["status"] == "done"
    assert result["cohort"] == {"answered": HOSPITALS, "missing": []}
    assert result["guarantee"]["kind"] == "dp"
    assert result["guarantee"]["epsilon"] <= 3
    assert {h: body["rounds_spent"] for h, body in result["per_hospital"].items()} == dict.fromkeys(
        HOSPITALS, 11
    )
    for expected in (
        "C-index",
        "pooled Cox",
        "hazard ratios",
        "simulation only",
        "seconds:",
        "pia.html",
        "exact sums: in 11 rounds",
    ):
        assert expected in demo.text
    assert no_process_left(demo.folder)


@pytest.mark.xdist_group("demo-twice")
@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_second_study_on_the_same_patients_adds_up(twice: tuple[Demo, dict[str, Any], Demo]) -> None:
    _, first, second = twice
    assert second.code == 0, second.text
    for hospital, body in second.result["per_hospital"].items():
        assert body["epsilon"] == pytest.approx(first["per_hospital"][hospital]["epsilon"])
        assert body["epsilon"] < body["epsilon_all_studies"] < 2 * body["epsilon"]


@pytest.mark.xdist_group("demo-twice")
def test_the_printed_bundle_verifies(twice: tuple[Demo, dict[str, Any], Demo]) -> None:
    _, _, second = twice
    done = subprocess.run(
        [sys.executable, "-m", "deploy.dpo_cli", "verify", str(second.run)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("step", "in_the_sum", "own_ledger"),
    [("upload", False, "RESERVE"), ("agree", False, "SPENT"), ("open", True, "SPENT")],
)
def test_a_killed_hospital_is_named_and_the_sum_stays_exact(
    tmp_path: Path, step: str, in_the_sum: bool, own_ledger: str
) -> None:
    demo = run_demo(tmp_path, KILL=step)
    assert demo.code == 0, demo.text
    assert "SIGKILL to south" in re.sub(r"\s+", " ", demo.text)
    assert "exact sums: in 11 rounds" in re.sub(r"\s+", " ", demo.text)
    [missing] = demo.result["cohort"]["missing"]
    assert (missing["hospital"], missing["round"], missing["step"]) == ("south", KILLED_ROUND, step)
    killed, after = demo.rounds()[KILLED_ROUND - 1], demo.rounds()[KILLED_ROUND]
    assert ("south" in killed["answered"]) is in_the_sum
    assert {"hospital": "south", "step": step} in killed["missing"]
    assert after["answered"] == ["east", "north", "west"]
    assert demo.ledger("south")[KILLED_ROUND] == own_ledger
    assert max(demo.ledger("south")) == KILLED_ROUND
    assert "south" in (demo.run / "pia.html").read_text()
    assert no_process_left(demo.folder)


def test_too_few_survivors_end_with_the_reason(tmp_path: Path) -> None:
    """All four must answer, one is killed: no success is printed, exit code 3."""
    text = (
        "from pathlib import Path\n"
        "from rich.console import Console\n"
        "from deploy.demo_consortium import DemoFolder, prepare\n"
        "from deploy.demo_report import finish\n"
        "from deploy.demo_run import KillPlan, run_processes\n"
        "console = Console(soft_wrap=True)\n"
        "folder = DemoFolder(Path('demo').resolve())\n"
        "run = prepare(folder, console)\n"
        "text = run.study.read_text().replace('threshold = 3', 'threshold = 4')\n"
        "text = text.replace('minimum_answers = 3', 'minimum_answers = 4').replace('deadline_s = 60', 'deadline_s = 6')\n"
        "run.study.write_text(text)\n"
        "raise SystemExit(finish(run, run_processes(run, KillPlan('south', 'upload', 4), console), console))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    result = json.loads((tmp_path / "demo" / "run-1" / "result.json").read_text())
    assert result["status"] == "failed"
    assert "4 must answer" in result["reason"]
    assert "south" in result["reason"]
    assert "south" in (tmp_path / "demo" / "run-1" / "pia.html").read_text()


def test_interrupting_the_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "round 2 of" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(30) == 130, rest
    assert "interrupted" in rest
    end = time.monotonic() + 5
    while not no_process_left(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    assert no_process_left(tmp_path)


def test_a_wrong_wish_is_one_sentence(tmp_path: Path) -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "deploy.demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KILL": "everything"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 2
    assert demo.stderr == "error: KILL=everything is not known; take one of upload, agree, open\n"


@pytest.mark.xdist_group("demo-twice")
def test_the_journal_and_the_ledger_are_readable_by_their_owner_alone(
    twice: tuple[Demo, dict[str, Any], Demo],
) -> None:
    _, _, demo = twice
    state = demo.folder / "hospitals" / "north" / "state"
    for path in (state / "ledger.db", state / "session" / "journal.db"):
        assert path.stat().st_mode & 0o077 == 0
        sqlite3.connect(path).close()

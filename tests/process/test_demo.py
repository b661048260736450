"""The demo as a user runs it: real processes, mutual TLS on loopback, budgets that add up."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import Any

import pytest

from tests.process.demo_runs import HOSPITALS, ROOT, Demo, no_process_left, run_demo


@pytest.fixture(scope="module")
def twice(tmp_path_factory: pytest.TempPathFactory) -> tuple[Demo, dict[str, Any], Demo]:
    """A demo, its result, and a second one on the same hospitals."""
    cwd = tmp_path_factory.mktemp("twice")
    first = run_demo(cwd)
    result = first.result
    return first, result, run_demo(cwd, KEEP="1")


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


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_second_study_on_the_same_patients_adds_up(twice: tuple[Demo, dict[str, Any], Demo]) -> None:
    _, first, second = twice
    assert second.code == 0, second.text
    for hospital, body in second.result["per_hospital"].items():
        assert body["epsilon"] == pytest.approx(first["per_hospital"][hospital]["epsilon"])
        assert body["epsilon"] < body["epsilon_all_studies"] < 2 * body["epsilon"]


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


def test_the_journal_and_the_ledger_are_readable_by_their_owner_alone(
    twice: tuple[Demo, dict[str, Any], Demo],
) -> None:
    _, _, demo = twice
    state = demo.folder / "hospitals" / "north" / "state"
    for path in (state / "ledger.db", state / "session" / "journal.db"):
        assert path.stat().st_mode & 0o077 == 0
        sqlite3.connect(path).close()

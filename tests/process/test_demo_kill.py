"""The demo loses a hospital to a real SIGKILL, at each step."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from deploy.dpo_cli import app
from tests.process.demo_runs import no_process_left, run_demo

KILLED_ROUND = 4
RUNNER = CliRunner()


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
    verified = RUNNER.invoke(app, ["verify", str(demo.run)])
    assert verified.exit_code == 0, verified.output
    assert "The bundle holds." in verified.output
    assert no_process_left(demo.folder)

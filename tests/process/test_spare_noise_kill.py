"""kill -9 of a hospital between agreeing and opening, in a study that takes spare noise out: its share stays in, and nobody counts it.

Spare noise is told from memory, once. A process that ends before it told has nothing to tell; one that ends while it tells has
stated it on disk already. Either way the coordinator's count is at most what the hospitals sign at the end, and the bundle holds.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import pandas as pd
import pytest
from typer.testing import CliRunner

from deploy import dpo_cli
from deploy.actg175 import HOSPITALS
from deploy.demo_consortium import DemoRun
from deploy.exact_sum import check_sums
from deploy.processes import Line, ProcessGroup
from hospital_node import keys
from privacy.ledgers.ledger_export import read_sealed
from privacy.ledgers.told_noise import is_stated
from privacy.studies.agreement import from_bytes
from tests.process.demo_runs import no_process_left
from tests.process.test_coordinator_restart import PATIENCE_S, free_port
from tests.process.test_distributed import TRIAL, TRIAL_COLUMNS
from tests.process.test_distributed import consortium as consortium

pytestmark = pytest.mark.slow

# The other one's operator takes time over the next upload until the victim is back.
VICTIM, HELD, ITS_ROUND = "south", "north", 3


def arguments(run: DemoRun, name: str, address: str, *more: str) -> list[str]:
    return [
        "run", "--home", str(run.folder.hospital(name).root), "--study", str(run.study),
        "--data", str(run.folder.data / f"{name}.csv"), "--coordinator", address, "--json", *more,
    ]  # fmt: skip


def is_on_disk(journal: Path) -> bool:
    """Whether the victim's journal says that it tells the noise of this round, read beside the process that writes it."""
    try:
        with sqlite3.connect(f"file:{journal}?mode=ro", uri=True, timeout=5) as database:
            found = database.execute("SELECT 1 FROM told WHERE first = ?", (ITS_ROUND,)).fetchone()
    except sqlite3.Error:
        return False
    return found is not None


def kill_once_on_disk(pid: int, journal: Path) -> None:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end and not is_on_disk(journal):
        time.sleep(0.0005)
    os.kill(pid, signal.SIGKILL)


def about_to_open(line: Line) -> bool:
    event = line.event or {}
    asked = (event.get("event"), event.get("step"), event.get("round"))
    return line.process == VICTIM and asked == ("confirm", "open", ITS_ROUND)


def is_back(line: Line) -> bool:
    return line.process == VICTIM and (line.event or {}).get("event") == "study_accepted"


def yes_until(group: ProcessGroup, wanted: Callable[[Line], bool], but: int = 0) -> None:
    """Wait for a line; operators say yes to everything else, the held one's to its upload of round `but` once the line came."""
    held = False
    for line in group.lines(PATIENCE_S):
        if wanted(line):
            if held:
                group[HELD].answer("y")
            return
        event = line.event or {}
        if event.get("event") != "confirm":
            continue
        if (line.process, event.get("step"), event.get("round")) == (HELD, "upload", but):
            held = True
        else:
            group[line.process].answer("y")
    raise AssertionError("it did not come")


def run_and_kill(run: DemoRun, when: str) -> None:
    """The whole study; the victim dies at its opening of one round and starts again on its files."""
    address, killers = f"127.0.0.1:{free_port()}", list[Thread]()
    coordinator = [
        "run", "--home", str(run.folder.coordinator), "--study", str(run.study), "--listen", address,
        "--out", str(run.out), "--json",
    ]  # fmt: skip
    with ProcessGroup(run.folder.logs) as group:
        group.start("coordinator", "coordinator.cli", coordinator)
        for name in run.hospitals:
            confirm = ("--confirm",) if name in (VICTIM, HELD) else ()
            group.start(name, "hospital_node.cli", arguments(run, name, address, *confirm))
        victim = group[VICTIM]
        yes_until(group, about_to_open)
        if when == "before it tells":
            victim.kill()
        else:
            killers.append(
                Thread(target=kill_once_on_disk, args=(victim.pid, run.folder.hospital(VICTIM).journal))
            )
            killers[0].start()
            victim.answer("y")
            killers[0].join()
        assert group.wait(VICTIM, PATIENCE_S) == -signal.SIGKILL
        group.start(VICTIM, "hospital_node.cli", arguments(run, VICTIM, address))
        yes_until(group, is_back, but=ITS_ROUND + 1)
        yes_until(group, lambda line: line.process == "coordinator" and line.ended)
        assert group.wait("coordinator", PATIENCE_S) == 0, (run.folder.logs / "coordinator.log").read_text()
        assert {name: group.wait(name, PATIENCE_S) for name in run.hospitals} == dict.fromkeys(
            run.hospitals, 0
        )


@pytest.mark.parametrize("when", ["before it tells", "once it is on disk"])
def test_a_hospital_killed_between_agreeing_and_opening_leaves_its_noise_in(
    consortium: DemoRun, when: str
) -> None:
    run = consortium
    run.study.write_text(TRIAL, encoding="utf-8")
    for name in run.hospitals:
        path = run.folder.data / f"{name}.csv"
        pd.read_csv(path, usecols=TRIAL_COLUMNS)[TRIAL_COLUMNS].to_csv(path, index=False)
    run_and_kill(run, when)
    agreement = from_bytes((run.out / "evidence" / "agreement.json").read_bytes())
    checked = check_sums(run, agreement)
    assert (checked.equal, checked.spare) == (True, True), checked.problem
    rounds = [json.loads(s) for s in (run.out / "evidence" / "rounds.jsonl").read_text().splitlines()]
    killed: dict[str, Any] = next(record for record in rounds if record["round"] == ITS_ROUND)
    # It had agreed, so its vector is in the sum whoever opens.
    assert (killed["status"], killed["answered"]) == ("done", sorted(HOSPITALS))
    others = set(HOSPITALS) - {VICTIM}
    told = is_stated(statement(run, VICTIM), ITS_ROUND)
    if when == "before it tells":
        assert set(killed["noise_removed"]) == others
        assert not told
    else:
        assert others <= set(killed["noise_removed"])
        assert told
    for record in rounds:
        assert all(is_stated(statement(run, name), record["round"]) for name in record["noise_removed"])
    verified = CliRunner().invoke(dpo_cli.app, ["verify", str(run.out)])
    assert "The bundle holds." in verified.output, verified.output
    claims = {c["id"]: c["status"] for c in json.loads((run.out / "pia.json").read_bytes())["claims"]}
    assert claims["E-SPARE"] == "VERIFIED"
    assert no_process_left(run.folder.root)


def statement(run: DemoRun, name: str) -> tuple[tuple[int, int], ...]:
    """What this hospital signed, as the coordinator put it into the evidence."""
    own = keys.load(run.folder.hospital(name).keys)
    told = read_sealed(
        (run.out / "evidence" / "ledger" / f"{name}.jsonl").read_bytes(), own.identity_public
    ).told
    assert told is not None
    return told

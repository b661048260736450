"""kill -9 of a real process while it draws a synthetic table: paid once, and the table is the same or was never used."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from deploy.actg175 import HOSPITALS, write_demo
from deploy.processes import Line, ProcessGroup
from hospital_node import keys
from hospital_node.clock import SystemClock
from hospital_node.home import Home
from hospital_node.ledger_store import LedgerStore
from privacy.synthesis.charges import DerivedRelease, SynthesisRelease
from tests.process.demo_runs import ROOT, no_process_left
from tests.process.real_studies import Consortium, typed
from tests.process.test_real_studies import OPEN, assert_holds, changed, tables, write_study
from tests.study_files import table, text, write_csv
from tests.unit.hospital_node.test_cli import POLICY

pytestmark = pytest.mark.slow

PERMITS = (OPEN[-1][0], 'stages = ["synthetic_dp"]')
STAGE = ('kind = "generalize"\nk = 5', 'kind = "synthetic_dp"\nepsilon = 1.0\ndelta = 1e-6')
COUNT = '\n[[analysis.query]]\nname = "count"\nkind = "count"\n'
PATIENCE_S = 120.0


def lines_in(ledger: Path) -> int:
    """Entries on disk, read beside the process that writes them."""
    try:
        with sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=5) as database:
            return int(database.execute("SELECT count(*) FROM entries").fetchone()[0])
    except sqlite3.Error:
        return 0


def kill_at(pid: int, ledger: Path, count: int) -> bool:
    """SIGKILL as soon as the ledger has so many entries; whether it came to that."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if lines_in(ledger) >= count:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
            return True
        time.sleep(0.0005)
    return False


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_data_synthesize_killed_between_any_two_lines_pays_once(tmp_path: Path) -> None:
    write_csv(table(2000), tmp_path, "extract.csv")
    (tmp_path / "study.toml").write_text(text(), encoding="utf-8")
    cut = 0
    for count in (1, 3, 4, 5, 7):
        home = Home(tmp_path / f"home-{count}")
        assert typed("hospital_node.cli", "init", "a", "--home", home.root).code == 0
        permits = POLICY.format(epsilon=2.0).replace('["generalize"]', '["synthetic_dp"]')
        home.policy.write_text(permits, encoding="utf-8")
        command = [sys.executable, "-m", "hospital_node.cli", "data", "synthesize", "--study", tmp_path / "study.toml",
                   "--data", tmp_path / "extract.csv", "--home", home.root, "--epsilon", "1", "--out", home.root / "s.csv"]  # fmt: skip
        typed_in = [str(part) for part in command]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        process = subprocess.Popen(typed_in, env=environment, stdout=subprocess.DEVNULL)
        cut += kill_at(process.pid, home.ledger, count)
        process.wait()
        stored = {path.name: path.read_bytes() for path in (home.root / "kept").glob("*.json")}
        # No table without the last line of its account.
        assert lines_in(home.ledger) == 8 or not (home.root / "s.csv").exists()
        for _ in range(2):
            done = subprocess.run(typed_in, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
        kept = {path.name: path.read_bytes() for path in (home.root / "kept").glob("*.json")}
        assert len(kept) == 1
        assert not stored or stored == kept
        with LedgerStore(home.ledger, keys.load(home.keys).identity_private, SystemClock()) as ledger:
            entries = ledger.entries()
        assert sorted(entry.kind for entry in entries) == ["RESERVE"] * 4 + ["SPENT"] * 4
    assert cut >= 3


@pytest.mark.threat("FL-15", control="C-LEDGER")
@pytest.mark.parametrize("count", [2, 3], ids=["before SPENT", "after SPENT"])
def test_a_hospital_killed_while_it_draws_its_table_comes_back_with_it(tmp_path: Path, count: int) -> None:
    write_demo(tmp_path / "data")
    policy = (tmp_path / "data" / "north.policy.toml").read_text(encoding="utf-8")
    policy = changed(policy, *OPEN[:-1], PERMITS)
    made = Consortium.form(tmp_path, dict.fromkeys(HOSPITALS, policy))
    study, home = write_study(tmp_path, "killed", COUNT, STAGE), made.home("north")
    stored: dict[str, bytes] = {}
    killers: list[threading.Thread] = []
    killed: list[bool] = []

    def watch(group: ProcessGroup, line: Line) -> None:
        if killers or (line.event or {}).get("event") != "listening":
            return
        address = f"127.0.0.1:{(line.event or {})['port']}"

        def kill() -> None:
            killed.append(kill_at(group["north"].pid, home.ledger, count))
            group.wait("north", PATIENCE_S)
            stored.update({p.name: p.read_bytes() for p in (home.root / "kept").glob("*.table.json")})
            made._start(group, "north", study, tables(made)["north"], address, False)

        killers.append(threading.Thread(target=kill))
        killers[0].start()

    done = made.run(study, tables(made), watch)
    killers[0].join()
    assert killed == [True]
    assert done.agree(HOSPITALS), done.complaints
    assert_holds(made, done)
    result = done.result
    assert result["cohort"]["answered"] == sorted(HOSPITALS)
    assert 0.999 < result["guarantee"]["epsilon"] <= 1.0
    kept = {p.name: p.read_bytes() for p in (home.root / "kept").glob("*.table.json")}
    assert len(kept) == 1
    assert not stored or stored == kept
    with LedgerStore(home.ledger, keys.load(home.keys).identity_private, SystemClock()) as ledger:
        charged = [entry for entry in ledger.entries() if entry.record.release is not None]
    drawn = [entry.kind for entry in charged if isinstance(entry.record.release, SynthesisRelease)]
    assert drawn == ["RESERVE", "SPENT"]
    assert all(isinstance(e.record.release, SynthesisRelease | DerivedRelease) for e in charged)
    answer = result["analysis"]["results"][0]["groups"][0]
    # Synthetic patients are counted: as many as the noised sums say, and nothing is noised again.
    rows = sum(len(p.read_text(encoding="utf-8").splitlines()) - 1 for p in tables(made).values())
    assert abs(answer["count"] - rows) < 400
    assert json.loads((home.reports / "killed.synthetic.json").read_text())["synthetic_gate"] == "measure"
    assert no_process_left(tmp_path)

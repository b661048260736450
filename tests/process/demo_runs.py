"""Runs the demo as a user does, and reads what it left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hospital_node import keys
from hospital_node.clock import SystemClock
from hospital_node.ledger_store import LedgerStore
from privacy.ledgers.ledger import fold
from privacy.ledgers.ledger_export import read_export

ROOT = Path(__file__).resolve().parents[2]
HOSPITALS = ["east", "north", "south", "west"]


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

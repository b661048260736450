"""A consortium of real processes over mutual TLS, for studies of a test's own; nothing in it stands in for a part of the product."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.demo_consortium import form_consortium
from deploy.processes import Line, ProcessGroup
from hospital_node.home import Home
from tests.process.demo_runs import ROOT

PATIENCE_S = 180.0
# Enough time for a hospital to say why it refuses, and for the coordinator to go on without it.
END_PATIENCE_S = 30.0

Watch = Callable[[ProcessGroup, Line], None]


@dataclass(frozen=True)
class Ran:
    """One command that has ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True)
class Study:
    """One study that is over.

    Attributes:
        out: what the coordinator wrote.
        codes: exit code by process.
        said: lines by process, those of --json parsed.
        complaints: standard error and output by process, as logged.
    """

    out: Path
    codes: dict[str, int | None]
    said: dict[str, list[dict[str, Any]]] = field(repr=False)
    complaints: dict[str, str] = field(repr=False)

    @property
    def result(self) -> dict[str, Any]:
        body: dict[str, Any] = json.loads((self.out / "result.json").read_text(encoding="utf-8"))
        return body

    def agree(self, hospitals: Sequence[str], code: int = 0) -> bool:
        return [self.codes[name] for name in ("coordinator", *hospitals)] == [code] * (1 + len(hospitals))


@dataclass(frozen=True)
class Consortium:
    """A coordinator's home and one of each hospital under `root`."""

    root: Path
    hospitals: tuple[str, ...]

    @classmethod
    def form(cls, root: Path, policies: Mapping[str, str]) -> Consortium:
        """Keys, policies and a roster that all signed."""
        made = cls(root, tuple(policies))
        form_consortium(
            made.coordinator, {made.home(name): text for name, text in policies.items()}, "a test"
        )
        return made

    @property
    def coordinator(self) -> Path:
        return self.root / "coordinator"

    def home(self, hospital: str) -> Home:
        return Home(self.root / "hospitals" / hospital)

    def run(
        self, study: Path, tables: Mapping[str, Path], watch: Watch | None = None, ask: Sequence[str] = ()
    ) -> Study:
        """Starts the coordinator and every hospital, and waits until all have ended.

        Args:
            study: the study file, the same for all.
            tables: each hospital's extract.
            watch: sees every line as it is printed.
            ask: hospitals that run with --confirm; `watch` answers for them.
        """
        out, logs = self.root / f"out-{study.stem}", self.root / f"logs-{study.stem}"
        said: dict[str, list[dict[str, Any]]] = {name: [] for name in ("coordinator", *self.hospitals)}
        with ProcessGroup(logs) as group:
            group.start(
                "coordinator",
                "coordinator.cli",
                ["run", "--home", str(self.coordinator), "--study", str(study), "--listen", "127.0.0.1:0",
                 "--out", str(out), "--json"],
            )  # fmt: skip
            for line in group.lines(PATIENCE_S):
                if line.event is not None:
                    said[line.process].append(line.event)
                if line.ended and line.process == "coordinator":
                    break
                if line.event is not None and line.event.get("event") == "listening":
                    address = f"127.0.0.1:{line.event['port']}"
                    for name in self.hospitals:
                        self._start(group, name, study, tables[name], address, name in ask)
                if watch is not None:
                    watch(group, line)
            started = [name for name in said if name in group]
            codes = {name: group.wait(name, END_PATIENCE_S) for name in started}
        complaints = {name: (logs / f"{name}.log").read_text(encoding="utf-8") for name in started}
        return Study(out, codes, said, complaints)

    def _start(
        self, group: ProcessGroup, name: str, study: Path, table: Path, address: str, ask: bool
    ) -> None:
        typed = ["run", "--home", str(self.home(name).root), "--study", str(study), "--data", str(table),
                 "--coordinator", address, "--json"]  # fmt: skip
        group.start(name, "hospital_node.cli", [*typed, "--confirm"] if ask else typed)

    def ledger(self, hospital: str) -> list[dict[str, Any]]:
        """The entries and the overview that `wardround-hospital ledger --json` prints."""
        ran = typed("hospital_node.cli", "ledger", "--home", self.home(hospital).root, "--json")
        assert ran.code == 0, ran.err
        return [json.loads(line) for line in ran.out.splitlines()]


def typed(module: str, *arguments: object, cwd: Path | None = None, answers: str = "") -> Ran:
    """A command in a process of its own, as somebody types it."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        input=answers,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)

"""The demo's processes: starts them, shows what the coordinator says, kills one hospital if asked to."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console

from deploy.demo_consortium import DemoRun
from deploy.processes import Line, ProcessGroup

DEADLINE_S = 600.0
START_PATIENCE_S = 60.0
END_PATIENCE_S = 20.0


class DemoFailed(Exception):
    """A demo that did not reach its end; the sentence names the log to read."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


@dataclass(frozen=True, slots=True)
class KillPlan:
    """SIGKILL to `victim` when it is about to take `step` of `round`."""

    victim: str
    step: str
    round: int


@dataclass(slots=True)
class DemoOutcome:
    """What the processes did."""

    exit_code: int = 0
    reason: str = ""
    killed: str = ""
    hospital_exits: dict[str, int | None] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)


def run_processes(run: DemoRun, kill: KillPlan | None, console: Console) -> DemoOutcome:
    """One coordinator and four hospitals over mutual TLS on loopback, until the coordinator ends.

    Raises:
        DemoFailed: the coordinator did not come up.
    """
    outcome = DemoOutcome()
    started = time.monotonic()
    with ProcessGroup(run.folder.logs) as group:
        group.start("coordinator", "coordinator.cli", _coordinator_arguments(run))
        port = _wait_for_port(group, console)
        for name in run.hospitals:
            group.start(name, "hospital_node.cli", _hospital_arguments(run, name, port, kill))
        outcome.seconds["start"] = time.monotonic() - started
        console.print(
            f"1 coordinator and {len(run.hospitals)} hospitals run, mutual TLS 1.3 on 127.0.0.1:{port}"
        )
        _follow(group, run, kill, console, outcome)
        code = group.wait("coordinator", END_PATIENCE_S)
        outcome.exit_code = 3 if code is None else code
        for name in run.hospitals:
            outcome.hospital_exits[name] = group.wait(name, END_PATIENCE_S)
    return outcome


def _coordinator_arguments(run: DemoRun) -> list[str]:
    return [
        "run", "--home", str(run.folder.coordinator), "--study", str(run.study), "--listen", "127.0.0.1:0",
        "--out", str(run.out), "--no-pia", "--json",
    ]  # fmt: skip


def _hospital_arguments(run: DemoRun, name: str, port: int, kill: KillPlan | None) -> list[str]:
    arguments = [
        "run", "--home", str(run.folder.hospital(name).root), "--study", str(run.study),
        "--data", str(run.folder.data / f"{name}.csv"), "--coordinator", f"127.0.0.1:{port}", "--json",
    ]  # fmt: skip
    if kill is not None and kill.victim == name:
        # It asks before each step, so that the signal comes exactly when the step is about to be taken.
        arguments.append("--confirm")
    return arguments


def _wait_for_port(group: ProcessGroup, console: Console) -> int:
    for line in group.lines(START_PATIENCE_S):
        if line.event is not None and line.event.get("event") == "listening":
            return int(line.event["port"])
        if line.ended:
            break
    raise DemoFailed(f"the coordinator did not start; its log is {group['coordinator'].log}", 3)


def _follow(
    group: ProcessGroup, run: DemoRun, kill: KillPlan | None, console: Console, outcome: DemoOutcome
) -> None:
    """Shows progress until the coordinator's output ends."""
    for line in group.lines(DEADLINE_S):
        if line.process == "coordinator":
            if line.ended:
                return
            if line.event is not None:
                _show(line.event, console)
        elif kill is not None and line.process == kill.victim and line.event is not None:
            _maybe_kill(group, kill, line, console, outcome)


def _maybe_kill(
    group: ProcessGroup, kill: KillPlan, line: Line, console: Console, outcome: DemoOutcome
) -> None:
    event = line.event or {}
    if event.get("event") != "confirm":
        return
    if (event.get("step"), event.get("round")) == (kill.step, kill.round):
        group[kill.victim].kill()
        outcome.killed = kill.victim
        console.print(
            f"[bold red]SIGKILL[/bold red] to {kill.victim} (process {group[kill.victim].pid}) before its {kill.step} of round {kill.round}"
        )
    else:
        group[kill.victim].answer("y")


def _show(event: dict[str, Any], console: Console) -> None:
    """Lines that a person wants to see; single uploads would only scroll."""
    kind, text = event.get("event"), str(event.get("text", ""))
    seconds = event.get("seconds")
    took = f"  [dim]{seconds:.2f} s[/dim]" if isinstance(seconds, int | float) else ""
    match kind:
        case "round_done" | "accepted" | "session" | "agreement" | "pia" | "waiting":
            console.print(f"  {text}{took}")
        case "round_aborted" | "refused" | "silent" | "disconnected":
            console.print(f"  [yellow]{text}[/yellow]{took}")

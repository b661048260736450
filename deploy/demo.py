"""`make demo`: one coordinator and four hospitals as processes on this machine, a real trial, the whole path.

Environment: KEEP=1 goes on with the hospitals' state of the last demo, so that budgets add up; KILL=upload|agree|open sends SIGKILL to one
hospital's process when it is about to take that step of the fourth round.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from rich.console import Console

from deploy.demo_consortium import DemoFolder, prepare
from deploy.demo_report import finish
from deploy.demo_run import DemoFailed, KillPlan, run_processes
from privacy.link import command_line

ROOT = Path("out") / "demo"
KILL_STEPS = ("upload", "agree", "open")
KILL_ROUND = 4
VICTIM = "south"


@dataclass(frozen=True, slots=True)
class Wish:
    """What the environment asks for."""

    keep: bool
    kill: KillPlan | None


def read_wish(environment: dict[str, str]) -> Wish | str:
    """KEEP and KILL, or the sentence that says what is wrong with them."""
    keep, kill = environment.get("KEEP", ""), environment.get("KILL", "")
    if kill and kill not in KILL_STEPS:
        return f"KILL={kill} is not known; take one of {', '.join(KILL_STEPS)}"
    return Wish(keep not in ("", "0"), KillPlan(VICTIM, kill, KILL_ROUND) if kill else None)


def folder_for(keep: bool) -> DemoFolder | str:
    """A fresh folder under out/demo, or the one of the last run with KEEP=1."""
    latest = ROOT / "latest"
    if keep:
        if not latest.exists():
            return "KEEP=1 needs an earlier demo; run `make demo` first"
        return DemoFolder(latest.resolve())
    path = ROOT / datetime.now().astimezone().strftime("%Y-%m-%d-%H%M%S")
    path.mkdir(parents=True)
    latest.unlink(missing_ok=True)
    latest.symlink_to(path.name)
    return DemoFolder(path.resolve())


def main() -> int:
    """Runs the demo; returns its exit code."""
    # A shell starts background jobs with SIGINT ignored; whoever interrupts the demo means it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    wish = read_wish(dict(os.environ))
    if isinstance(wish, str):
        command_line.say_error(wish)
        return command_line.BAD_INPUT
    folder = folder_for(wish.keep)
    if isinstance(folder, str):
        command_line.say_error(folder)
        return command_line.BAD_INPUT
    console = Console(highlight=False, soft_wrap=True)
    try:
        run = prepare(folder, console)
        outcome = run_processes(run, wish.kill, console)
        return finish(run, outcome, console)
    except KeyboardInterrupt:
        command_line.say_error("interrupted; every process of the demo was ended")
        return command_line.INTERRUPTED
    except DemoFailed as failed:
        command_line.say_error(str(failed))
        return failed.exit_code


if __name__ == "__main__":
    sys.exit(main())

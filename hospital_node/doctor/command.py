"""`wardround-hospital doctor`: what an operator types before a study, and when a node does not connect."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from hospital_node.clock import SystemClock
from hospital_node.home import Home
from hospital_node.options import DROP, HOME, JSON
from privacy.link.command_line import say, say_json

EPILOG = (
    "Example: wardround-hospital doctor --home /srv/wardround --study study.toml --data extract.csv --coordinator host:7443. "
    "Exit code 0: nothing failed; 2: something at this hospital did; 3: only the way to the coordinator or the coordinator. "
    "What it prints holds no patient's value and no secret, so it can be sent to whoever helps."
)
WIDTHS = 80, 140


def doctor(
    home: HOME,
    study: Annotated[Path | None, typer.Option("--study", help="The study file, as `run` takes it.")] = None,
    data: Annotated[Path | None, typer.Option("--data", help="Your table, as `run` takes it.")] = None,
    coordinator: Annotated[
        str | None, typer.Option("--coordinator", help="host:port, as `run` takes it.")
    ] = None,
    drop_undeclared: DROP = False,
    as_json: JSON = False,
) -> None:
    """Check whether this hospital could take part, and say for each thing that is wrong what to do. Nothing is changed; takes 20 s at most."""
    from hospital_node.doctor.case import Case
    from hospital_node.doctor.checks import CHECKS
    from hospital_node.doctor.examination import examine, exit_code
    from hospital_node.doctor.page import HEADING, last_line, lines, row, summary

    case = Case(Home(home), study, data, coordinator, drop_undeclared, os.environ, SystemClock())
    width = min(max(shutil.get_terminal_size((WIDTHS[1], 24)).columns, WIDTHS[0]), WIDTHS[1])
    outcomes = []
    if not as_json:
        say(HEADING)
    for outcome in examine(case, CHECKS):
        outcomes.append(outcome)
        if as_json:
            say_json(row(outcome))
        else:
            for line in lines(outcome, width):
                say(line)
    code = exit_code(outcomes)
    if as_json:
        say_json(summary(outcomes))
    else:
        say("")
        say(last_line(outcomes))
    if any(outcome.abandoned for outcome in outcomes):
        # A thread that hangs in the file system or in a library would keep the interpreter from ending.
        sys.stdout.flush()
        os._exit(code)
    raise typer.Exit(code)

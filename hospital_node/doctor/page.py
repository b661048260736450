"""The doctor's table, for a person and for a machine."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from hospital_node.doctor.examination import Outcome, exit_code

NAME_WIDTH, RESULT_WIDTH = 16, 9
SHOWN = {"ok": "ok", "warn": "warn", "failed": "FAILED", "skipped": "skipped"}


HEADING = f"{'check':{NAME_WIDTH}}{'result':{RESULT_WIDTH}}what was found, and -> what to do"


def lines(outcome: Outcome, width: int) -> Iterator[str]:
    """One row of the table; the remedy in a line of its own."""
    finding = outcome.finding
    indent = " " * (NAME_WIDTH + RESULT_WIDTH)
    head = f"{outcome.check.name:{NAME_WIDTH}}{SHOWN[finding.result]:{RESULT_WIDTH}}"
    yield from _wrapped(head, indent, finding.found, width)
    if finding.remedy:
        yield from _wrapped(f"{indent}-> ", f"{indent}   ", finding.remedy, width)


def _wrapped(first: str, rest: str, text: str, width: int) -> list[str]:
    # Paths and commands stay whole, so that they can be copied. A study's title is somebody else's, and this goes to a terminal.
    return textwrap.wrap(
        "".join(c if c.isprintable() else " " for c in text),
        max(width, len(rest) + 40),
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def last_line(outcomes: Sequence[Outcome]) -> str:
    """What all of it comes to; it says "ready" only where every check was done and none failed."""
    results = [outcome.finding.result for outcome in outcomes]
    bad, odd, left = (results.count(result) for result in ("failed", "warn", "skipped"))
    counts = f"failed: {bad}, warnings: {odd}, skipped: {left}"
    if bad:
        first = next(o.check.name for o in outcomes if o.finding.result == "failed")
        return f"not ready; begin with `{first}` ({counts})"
    if left:
        return f"nothing failed, and not everything was checked, so whether this hospital is ready is not known ({counts})"
    return f"ready: every check was done ({counts})"


def row(outcome: Outcome) -> dict[str, Any]:
    """One check for a machine."""
    return {
        "check": outcome.check.name,
        "result": outcome.finding.result,
        "found": outcome.finding.found,
        "remedy": outcome.finding.remedy,
        "since": outcome.since,
        "seconds": round(outcome.seconds, 3),
    }


def summary(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """The last object."""
    results = [outcome.finding.result for outcome in outcomes]
    return {
        "event": "done",
        **{result: results.count(result) for result in ("ok", "warn", "failed", "skipped")},
        "ready": set(results) <= {"ok", "warn"},
        "exit_code": exit_code(outcomes),
    }

"""What a check of the doctor says, and what a check is.

A new check is one module with a function `look` and a `CHECK`, one line in `checks.py`, and its test. A function that judges takes values and
returns a finding; only `look` asks the machine. No finding holds a patient's value, a number of patients or a secret: it is made to be sent to others.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from hospital_node.doctor.case import Case

Result = Literal["ok", "warn", "failed", "skipped"]
LIMIT_S = 4.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the table.

    Attributes:
        found: what was found, one sentence without its full stop.
        remedy: what to do, the same; empty for "ok". {home}, {study} and {data} in it become what the operator typed.
    """

    result: Result
    found: str
    remedy: str = ""


def ok(found: str) -> Finding:
    """Nothing to do."""
    return Finding("ok", found)


def warn(found: str, remedy: str) -> Finding:
    """A study can run, and something should be done all the same."""
    return Finding("warn", found, remedy)


def failed(found: str, remedy: str) -> Finding:
    """A study cannot run."""
    return Finding("failed", found, remedy)


def not_asked(found: str, remedy: str) -> Finding:
    """What it needs was not given."""
    return Finding("skipped", found, remedy)


@dataclass(frozen=True, slots=True)
class Check:
    """One check.

    Attributes:
        name: one or two words, as the table shows them.
        look: asks the machine; raises what it raises anywhere else (`command_line.EXPECTED`), which fails the check with that sentence.
        needs: names of earlier checks without which this one can say nothing.
        outside: a fault lies beyond this machine: exit code 3 in place of 2.
        remedy: for what `look` raises and for a check that took too long.
        limit_s: how long it may take.
        late: what a check that took longer is worth.
    """

    name: str
    look: Callable[[Case], Finding]
    needs: tuple[str, ...] = ()
    outside: bool = False
    remedy: str = ""
    limit_s: float = LIMIT_S
    late: Result = "failed"

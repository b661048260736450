"""Runs the checks one after the other: each in its own time, none held up by another's failure unless it needs it."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from hospital_node.connect_problem import ConnectProblem
from hospital_node.doctor.case import Case
from hospital_node.doctor.finding import Check, Finding, failed
from privacy.link.command_line import BAD_INPUT, DONE, PEER, exit_code_of, sentence_of

TOTAL_S = 20.0
# A check that comes late in a slow examination still gets as much.
LEAST_S = 0.5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One check and what came of it.

    Attributes:
        since: the failed or skipped check that it waits for; empty where it was done.
        abandoned: it took too long and may still be at it.
    """

    check: Check
    finding: Finding
    seconds: float
    since: str = ""
    abandoned: bool = False


def examine(case: Case, checks: Sequence[Check]) -> Iterator[Outcome]:
    """Every check in turn, each as soon as it is known; together at most about `TOTAL_S` seconds."""
    end_s = case.clock.monotonic_s() + TOTAL_S
    done: dict[str, Outcome] = {}
    for check in checks:
        outcome = _skipped(check, done)
        if outcome is None:
            left_s = max(end_s - case.clock.monotonic_s(), LEAST_S)
            outcome = _run(case, check, min(check.limit_s, left_s))
        done[check.name] = outcome
        yield outcome


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0 without a failure; 2 where something at this hospital failed, 3 where only the way or the coordinator did."""
    bad = [outcome for outcome in outcomes if outcome.finding.result == "failed"]
    if not bad:
        return DONE
    return PEER if all(outcome.check.outside for outcome in bad) else BAD_INPUT


def _skipped(check: Check, done: dict[str, Outcome]) -> Outcome | None:
    for name in check.needs:
        before = done[name]
        if before.finding.result not in ("failed", "skipped"):
            continue
        # The first cause, not the last link of the chain.
        root = done[before.since or name]
        came = "failed" if root.finding.result == "failed" else "was skipped"
        said = f"since `{root.check.name}` {came}"
        return Outcome(check, Finding("skipped", said), 0.0, root.check.name)
    return None


def _run(case: Case, check: Check, limit_s: float) -> Outcome:
    started_s = case.clock.monotonic_s()
    came: list[Finding] = []
    # A daemon: a file system or a resolver that hangs cannot be interrupted, and must not keep the rest.
    thread = threading.Thread(target=lambda: came.append(_look(case, check)), name=check.name, daemon=True)
    thread.start()
    thread.join(limit_s)
    seconds = case.clock.monotonic_s() - started_s
    if came:
        return Outcome(check, _filled(case, came[0]), seconds)
    late = _filled(case, Finding(check.late, f"no end within {limit_s:.0f} s", check.remedy))
    return Outcome(check, late, seconds, abandoned=True)


def _filled(case: Case, finding: Finding) -> Finding:
    """With what the operator typed in the commands of its remedy."""
    remedy = finding.remedy
    for mark, typed in (("{home}", case.home.root), ("{study}", case.study_file), ("{data}", case.data)):
        remedy = remedy.replace(mark, str(typed))
    return replace(finding, remedy=remedy)


def _look(case: Case, check: Check) -> Finding:
    try:
        return check.look(case)
    except ConnectProblem as problem:
        return failed(problem.found, problem.remedy or check.remedy)
    except Exception as error:  # noqa: BLE001 - the outermost frame of a check: one that breaks must not hide the others
        if exit_code_of(error) is not None or isinstance(error, OSError):
            return failed(sentence_of(error).rstrip("."), check.remedy)
        # Its text may hold anything.
        return failed(
            f"the check itself broke ({type(error).__name__})", "report this as a fault of wardround"
        )

"""How the checks are run: independent ones also after a failure, each in its own time, nothing of an error's text shown that might be a patient's."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest

from hospital_node.doctor import examination, extract
from hospital_node.doctor.case import Case
from hospital_node.doctor.checks import CHECKS
from hospital_node.doctor.examination import Outcome, examine, exit_code
from hospital_node.doctor.finding import Check, Finding, failed, not_asked, ok, warn
from hospital_node.doctor.page import last_line, lines, row, summary
from tests.doctor_setting import Setting


def fine(_: Case) -> Finding:
    return ok("all is well")


def bad(_: Case) -> Finding:
    return failed("it is broken", "mend it in {home}")


def run(setting: Setting, *checks: Check) -> list[Outcome]:
    return list(examine(setting.case(), checks))


def test_independent_checks_run_after_a_failure_and_dependent_ones_name_the_first_cause(
    setting: Setting,
) -> None:
    outcomes = run(
        setting,
        Check("a", bad),
        Check("b", fine),
        Check("c", fine, needs=("a",)),
        Check("d", fine, needs=("b", "c")),
        Check("e", lambda _: not_asked("not given", "give it")),
        Check("f", fine, needs=("e",)),
    )
    assert [o.finding.result for o in outcomes] == [
        "failed",
        "ok",
        "skipped",
        "skipped",
        "skipped",
        "skipped",
    ]
    assert [o.finding.found for o in outcomes[2:]] == [
        "since `a` failed",
        "since `a` failed",
        "not given",
        "since `e` was skipped",
    ]
    assert str(setting.home.root) in outcomes[0].finding.remedy


def test_a_check_that_hangs_ends_in_its_time_and_holds_nobody_up(setting: Setting) -> None:
    hanging = threading.Event()
    started = time.monotonic()
    first, second = run(
        setting,
        Check("slow", lambda _: ok(str(hanging.wait())), limit_s=0.05, remedy="wake it"),
        Check("b", fine),
    )
    assert time.monotonic() - started < 2
    hanging.set()
    assert (first.finding.result, first.finding.remedy, first.abandoned) == ("failed", "wake it", True)
    assert second.finding.result == "ok"


def test_all_checks_together_have_one_limit(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(check.limit_s for check in CHECKS) > 3 * examination.TOTAL_S
    monkeypatch.setattr(examination, "TOTAL_S", 0.2)
    monkeypatch.setattr(examination, "LEAST_S", 0.01)
    hanging = threading.Event()
    started = time.monotonic()
    outcomes = run(
        setting, *(Check(str(n), lambda _: ok(str(hanging.wait())), limit_s=0.15) for n in range(20))
    )
    passed = time.monotonic() - started
    hanging.set()
    assert {o.finding.result for o in outcomes} == {"failed"}
    assert passed < 20 * 0.15 / 2


def test_what_breaks_a_check_is_named_and_not_quoted(setting: Setting) -> None:
    def break_down(_: Case) -> Finding:
        raise ValueError("patient P00007 has marker 417.5")

    (outcome,) = run(setting, Check("data", break_down))
    assert outcome.finding.result == "failed"
    assert "ValueError" in outcome.finding.found
    assert "P00007" not in outcome.finding.found + outcome.finding.remedy


def test_exit_codes_tell_this_hospital_from_what_lies_beyond(setting: Setting) -> None:
    here, beyond = Check("here", bad), Check("beyond", bad, outside=True)
    assert exit_code(run(setting, Check("a", fine), Check("b", lambda _: warn("odd", "look")))) == 0
    assert exit_code(run(setting, beyond)) == 3
    assert exit_code(run(setting, beyond, here)) == 2


def test_it_says_ready_only_when_everything_was_done_and_nothing_failed(setting: Setting) -> None:
    well, unasked = Check("a", fine), Check("b", lambda _: not_asked("not given", "give it"))
    assert last_line(run(setting, well)).startswith("ready")
    for checks in ((well, unasked), (well, Check("c", bad))):
        outcomes = run(setting, *checks)
        assert not last_line(outcomes).startswith("ready")
        assert summary(outcomes)["ready"] is False


def test_a_row_for_a_person_and_for_a_machine(setting: Setting) -> None:
    (outcome,) = run(setting, Check("keys", bad))
    shown = list(lines(outcome, 100))
    assert shown[0].split(maxsplit=2) == ["keys", "FAILED", "it is broken"]
    assert "-> mend it in" in " ".join(shown)
    assert set(row(outcome)) == {"check", "result", "found", "remedy", "since", "seconds"}


def test_nothing_that_others_wrote_moves_the_cursor() -> None:
    """As a study's title could."""
    check = Check("study", lambda case: ok("x"))
    shown = list(lines(Outcome(check, ok("small: \x1b[2Jready\x9b1A"), 0.0), 100))
    assert all(line.isprintable() for line in shown)
    assert "ready" in shown[0]


def test_every_check_that_others_need_comes_before_them() -> None:
    seen: set[str] = set()
    for check in CHECKS:
        assert set(check.needs) <= seen, check.name
        assert check.name not in seen
        seen.add(check.name)


def test_a_table_that_takes_too_long_was_not_checked(
    setting: Setting, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging = threading.Event()
    slow = replace(extract.DATA, look=lambda _: ok(str(hanging.wait())), limit_s=0.05, needs=())
    (outcome,) = run(setting, slow)
    hanging.set()
    assert outcome.abandoned
    assert not last_line([outcome]).startswith("ready")
    assert str(setting.data) in outcome.finding.remedy

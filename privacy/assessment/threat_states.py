"""The state of every threat in one run: which controls were on, which were tested at the commit that ran."""

from __future__ import annotations

from typing import Literal

from privacy.assessment.evidence import Evidence, TestEvidence
from privacy.assessment.pia_schema import ControlState, ThreatState
from privacy.assessment.threat_schema import Control

On = Literal["ON", "OFF", "NOT_BUILT", "UNKNOWN"]
Tested = Literal["PASS", "FAIL", "NOT_RUN", "NO_TEST", "STALE", "NOT_BUILT"]
Standing = Literal["FAILED", "NOT_BUILT", "OFF", "UNKNOWN", "PARTLY", "NOT_TESTED", "TESTED"]


def threat_states(evidence: Evidence) -> tuple[ThreatState, ...]:
    """Threats in the order of the register; none without a register in the evidence."""
    if evidence.register is None:
        return ()
    states = {control.id: control_state(control, evidence) for control in evidence.register.controls}
    return tuple(
        ThreatState(
            id=threat.id,
            title=threat.title,
            priority=threat.priority,
            attack=threat.attack,
            residual=threat.residual,
            status=standing([states[name] for name in threat.controls]),
            controls=tuple(states[name] for name in threat.controls),
        )
        for threat in evidence.register.threats
    )


def control_state(control: Control, evidence: Evidence) -> ControlState:
    """One control in this run."""
    return ControlState(
        id=control.id,
        title=control.title,
        on=_on(control, evidence),
        tested=_tested(control, evidence),
        setting=control.setting,
        code=control.code,
        tests=control.tests,
    )


def tests_are_current(evidence: Evidence) -> bool:
    """Whether the test run speaks about the code that ran: same commit, no uncommitted change on either side."""
    if evidence.tests is None or evidence.packages is None:
        return False
    code, tests = evidence.packages.code, evidence.tests
    same = code.commit is not None and code.commit == tests.commit
    return same and code.dirty is False and tests.dirty is False


def standing(controls: list[ControlState]) -> Standing:
    """What the controls of one threat amount to: the worst of them, PARTLY where some are built and some are not."""
    built = [control for control in controls if control.on != "NOT_BUILT"]
    if any(control.tested == "FAIL" for control in controls):
        return "FAILED"
    if not built:
        return "NOT_BUILT"
    if any(control.on == "OFF" for control in built):
        return "OFF"
    if any(control.on == "UNKNOWN" for control in built):
        return "UNKNOWN"
    if len(built) < len(controls):
        return "PARTLY"
    return "TESTED" if all(control.tested == "PASS" for control in built) else "NOT_TESTED"


def _on(control: Control, evidence: Evidence) -> On:
    match control.on_when:
        case "not_built":
            return "NOT_BUILT"
        case "always":
            return "ON"
        case "hospital":
            return "UNKNOWN"
        case "network":
            if evidence.result is None or evidence.result.transport is None:
                return "UNKNOWN"
            return "ON" if evidence.result.transport == "mutual_tls_1_3" else "OFF"
        case "dp" | "stage":
            if evidence.agreement is None:
                return "UNKNOWN"
            study = evidence.agreement.study
            active = study.mode != "none" if control.on_when == "dp" else study.stage.kind != "none"
            return "ON" if active else "OFF"


def _tested(control: Control, evidence: Evidence) -> Tested:
    """PASS only when every named test ran and passed, at the commit that ran, in a clean tree."""
    if control.on_when == "not_built":
        return "NOT_BUILT"
    tests = evidence.tests
    if not control.tests and not _records(control, tests):
        return "NO_TEST"
    if tests is None:
        return "NOT_RUN"
    code = evidence.packages.code if evidence.packages else None
    if "failed" in _records(control, tests).values() and code is not None and code.commit == tests.commit:
        return "FAIL"
    if not tests_are_current(evidence):
        return "STALE"
    outcomes = _records(control, tests)
    ran = {identifier.partition("[")[0] for identifier in outcomes}
    complete = set(control.tests) <= ran and set(outcomes.values()) == {"passed"}
    return "PASS" if complete else "NOT_RUN"


def _records(control: Control, tests: TestEvidence | None) -> dict[str, str]:
    """Test id to outcome, of the tests that name this control or that it names."""
    return {
        test.id: test.outcome
        for test in (tests.tests if tests else ())
        if control.id in test.controls or test.id.partition("[")[0] in control.tests
    }

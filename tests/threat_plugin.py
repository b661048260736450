"""Pytest plugin: which tests of controls ran, with which outcome, at which commit, in a clean tree or not.

A test belongs to a control when the register names it or when it is marked::

    @pytest.mark.threat("FL-08", control="C-ONESHARE")

The outcomes go to ``out/test-evidence.json`` when the session ends. Under pytest-xdist only the controlling process
writes; the workers' outcomes reach it inside their reports.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from coordinator.pia.code_identity import code_identity
from privacy.assessment.evidence import TestEvidence, TestRecord
from threat_model.register import load_register

PROPERTY = "wardround-threat"
OUTPUT = Path("out") / "test-evidence.json"


def named_controls() -> dict[str, list[str]]:
    """Test id without parameters -> controls that name it in the register."""
    named: dict[str, list[str]] = {}
    for control in load_register().controls:
        for test in control.tests:
            named.setdefault(test, []).append(control.id)
    return named


def controls_of(item: pytest.Item, named: dict[str, list[str]]) -> set[str]:
    """Controls that a collected test stands for."""
    controls = set(named.get(item.nodeid.partition("[")[0], ()))
    for mark in item.iter_markers("threat"):
        control = mark.kwargs.get("control")
        known = {threat.id: threat.controls for threat in load_register().threats}
        if len(mark.args) != 1 or mark.args[0] not in known or control not in known[mark.args[0]]:
            raise pytest.UsageError(
                f'{item.nodeid}: write @pytest.mark.threat("FL-08", control="C-ONESHARE") with a threat of '
                "threat_model/register.json and one of its controls"
            )
        controls.add(control)
    return controls


class ThreatEvidence:
    """Collects outcomes; one instance a session."""

    def __init__(self, root: Path, writes: bool) -> None:
        self._root = root
        self._writes = writes
        self._outcomes: dict[str, tuple[tuple[str, ...], str]] = {}
        # Asked at the start: a test that leaves a file behind must not make its own evidence look dirty, and an
        # edit made while the tests run must not look tested.
        self._code = code_identity(root) if writes else None

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        named = named_controls()
        for item in items:
            controls = controls_of(item, named)
            if controls:
                # The id as the register spells it: xdist may add a group's name to it later.
                item.user_properties.append((PROPERTY, [item.nodeid, *sorted(controls)]))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        known = dict(report.user_properties).get(PROPERTY)
        if not isinstance(known, list):
            return
        test, *controls = map(str, known)
        _, before = self._outcomes.get(test, ((), ""))
        if report.when == "call" or report.outcome != "passed":
            outcome = "failed" if "failed" in (before, report.outcome) else report.outcome
            self._outcomes[test] = (tuple(controls), outcome)

    def pytest_sessionfinish(self) -> None:
        if not self._writes or self._code is None or not self._outcomes:
            return
        now = code_identity(self._root)
        same = now.commit == self._code.commit
        evidence = TestEvidence(
            commit=self._code.commit if same else None,
            dirty=bool(self._code.dirty or now.dirty) if self._code.dirty is not None else None,
            tests=tuple(
                TestRecord.model_validate({"id": test, "outcome": outcome, "controls": controls})
                for test, (controls, outcome) in sorted(self._outcomes.items())
            ),
        )
        target = self._root / OUTPUT
        target.parent.mkdir(exist_ok=True)
        target.write_text(evidence.model_dump_json(indent=1) + "\n", encoding="utf-8")


def pytest_configure(config: pytest.Config) -> None:
    worker = hasattr(config, "workerinput")
    config.pluginmanager.register(ThreatEvidence(Path(config.rootpath), writes=not worker), "threat-evidence")

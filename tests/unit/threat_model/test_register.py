"""The register is complete, says only what exists, and THREATS.md is its current rendering."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from privacy.assessment.threat_schema import Register
from threat_model.register import load_register, register_bytes
from threat_model.render import render

ROOT = Path(__file__).parents[3]
REGISTER = load_register()


def test_all_37_threats_have_a_control_and_every_must_says_what_counts_as_evidence() -> None:
    assert [threat.id for threat in REGISTER.threats] == [f"FL-{number:02d}" for number in range(1, 38)]
    assert all(threat.controls and threat.counts_as_evidence for threat in REGISTER.threats)


def test_every_assumption_says_what_is_lost_when_it_is_false() -> None:
    assert len(REGISTER.assumptions) >= 8
    assert all(len(assumption.if_false) > 40 for assumption in REGISTER.assumptions)


@pytest.mark.parametrize("control", REGISTER.controls, ids=lambda control: control.id)
def test_the_code_named_by_a_control_exists(control) -> None:
    missing = [path for path in control.code if not (ROOT / path).exists()]
    assert not missing


@pytest.mark.parametrize("control", [c for c in REGISTER.controls if c.tests], ids=lambda control: control.id)
def test_the_tests_named_by_a_control_exist(control) -> None:
    for test in control.tests:
        path, *names = test.split("::")
        assert (ROOT / path).is_file(), test
        body = ast.parse((ROOT / path).read_text(encoding="utf-8")).body
        for name in names:
            found = [
                node
                for node in body
                if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name
            ]
            assert found, test
            body = found[0].body


def test_threats_md_is_the_current_rendering() -> None:
    page = (ROOT / "threat_model" / "THREATS.md").read_text(encoding="utf-8")
    assert page == render(REGISTER), "run python -m threat_model.render"


def test_the_page_names_every_item() -> None:
    page = render(REGISTER)
    groups = (
        REGISTER.adversaries,
        REGISTER.assets,
        REGISTER.boundaries,
        REGISTER.assumptions,
        REGISTER.non_goals,
        REGISTER.controls,
        REGISTER.threats,
    )
    assert not [item.id for group in groups for item in group if item.id not in page]
    assert page.count("none yet") >= len(
        [c for c in REGISTER.controls if not c.tests and c.on_when != "not_built"]
    )


def _changed(**change: object) -> str:
    document = json.loads(register_bytes())
    for path, value in change.items():
        group, index, field = path.split("__")
        document[group][int(index)][field] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"threats__0__controls": ["C-NOTHING"]}, "C-NOTHING"),
        ({"threats__1__id": "FL-01"}, "used twice"),
        ({"threats__0__adversaries": ["ADV-NOBODY"]}, "ADV-NOBODY"),
        ({"controls__0__code": []}, "exactly when it is built"),
        ({"assumptions__0__colour": "red"}, "colour"),
        ({"threats__2__controls": ["C-SECAGG"]}, "no threat uses"),
    ],
)
def test_a_register_that_does_not_hold_together_is_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Register.model_validate_json(_changed(**change))

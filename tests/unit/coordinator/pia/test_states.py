"""When a control counts as tested, and as on: test evidence of the same commit and a clean tree, nothing less."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from privacy.assessment.evidence import Evidence, load
from privacy.assessment.pia_document import document
from privacy.assessment.pia_schema import Claim, Status, schema_text
from privacy.assessment.threat_schema import Register
from privacy.assessment.threat_states import control_state, threat_states
from privacy.link.canonical import canonical
from tests.unit.coordinator.pia.bundles import COMMIT, packages, plain_files
from threat_model.register import load_register

OTHER = "f" * 40


def register() -> Register:
    """The real register, with one known test under C-PKI."""
    body = load_register().model_dump(mode="json")
    for control in body["controls"]:
        control["tests"] = ["tests/a.py::test_pki"] if control["id"] == "C-PKI" else []
    return Register.model_validate_json(canonical(body))


def evidence(
    outcome: str = "passed",
    commit: str | None = COMMIT,
    dirty: bool | None = False,
    code: bytes | None = None,
    test: str = "tests/a.py::test_pki[1]",
) -> Evidence:
    tests = {
        "commit": commit,
        "dirty": dirty,
        "tests": [{"id": test, "outcome": outcome, "controls": ["C-PKI"]}],
    }
    return load(
        {
            **plain_files(),
            "evidence/threats.json": canonical(register().model_dump(mode="json")),
            "evidence/tests.json": canonical(tests),
            "evidence/packages.json": packages() if code is None else code,
        }
    )


def outcome_of(found: Evidence, control: str = "C-PKI") -> str:
    assert found.register is not None
    return control_state(found.register.control(control), found).tested


@pytest.mark.threat("FL-36", control="C-HONEST")
def test_only_the_same_commit_and_a_clean_tree_on_both_sides_count() -> None:
    assert outcome_of(evidence()) == "PASS"
    assert outcome_of(evidence(commit=OTHER)) == "STALE"
    assert outcome_of(evidence(commit=None)) == "STALE"
    assert outcome_of(evidence(dirty=True)) == "STALE"
    assert outcome_of(evidence(dirty=None)) == "STALE"
    assert outcome_of(evidence(code=packages(dirty=True))) == "STALE"
    assert outcome_of(evidence(code=packages(commit=None, dirty=None))) == "STALE"
    assert outcome_of(evidence(code=packages(commit=OTHER))) == "STALE"


def test_failed_skipped_and_other_tests_do_not_count() -> None:
    assert outcome_of(evidence(outcome="failed")) == "FAIL"
    assert outcome_of(evidence(outcome="skipped")) == "NOT_RUN"
    assert outcome_of(evidence(test="tests/a.py::test_another")) == "NOT_RUN", "the named test did not run"
    assert outcome_of(evidence(), "C-CONSIST") == "NO_TEST"
    assert outcome_of(evidence(), "C-MERKLE") == "NOT_BUILT"


def test_a_failed_test_is_a_failed_claim_and_a_failed_threat() -> None:
    found = evidence(outcome="failed")
    claims = {claim.id: claim.status for claim in document(found).claims}
    assert claims["T-TESTS"] is Status.FAILED
    assert {threat.id for threat in threat_states(found) if threat.status == "FAILED"} == {"FL-06"}


def test_no_test_run_and_a_stale_one_are_told_apart() -> None:
    without = load({path: data for path, data in evidence().files.items() if path != "evidence/tests.json"})
    assert (
        next(claim for claim in document(without).claims if claim.id == "T-TESTS").status is Status.NOT_TESTED
    )
    stale = next(claim for claim in document(evidence(commit=OTHER)).claims if claim.id == "T-TESTS")
    assert stale.status is Status.STALE


@pytest.mark.parametrize(
    ("transport", "on"), [(None, "UNKNOWN"), ("in_process", "OFF"), ("mutual_tls_1_3", "ON")]
)
def test_network_controls_are_on_only_where_the_result_says_that_there_was_a_network(
    transport: str | None, on: str
) -> None:
    body = json.loads(evidence().files["evidence/result.json"]) | {"transport": transport}
    found = load({**evidence().files, "evidence/result.json": canonical(body)})
    assert found.register is not None
    assert control_state(found.register.control("C-MTLS"), found).on == on


@pytest.mark.threat("FL-22", control="C-SIGNEDLEDGER")
def test_what_only_a_hospital_knows_cannot_be_verified() -> None:
    claim = next(claim for claim in document(evidence()).claims if claim.id == "E-LEDGER-east")
    assert claim.status is Status.ATTESTED
    with pytest.raises(ValueError, match="cannot rest on party_attestation"):
        Claim.model_validate({**claim.model_dump(), "status": "VERIFIED"})
    with pytest.raises(ValueError, match="cannot rest on human_statement"):
        Claim.model_validate({**claim.model_dump(), "status": "VERIFIED", "basis": "human_statement"})


def test_the_schema_file_is_current() -> None:
    kept = Path(__file__).parents[4] / "privacy" / "pia.schema.json"
    assert kept.read_text(encoding="utf-8") == schema_text(), (
        "write privacy.assessment.pia_schema.schema_text() to the file"
    )

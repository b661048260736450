"""Who takes part, from records alone: whatever is unknown, expired or not understood excludes."""

import json
from datetime import date
from typing import Any

import pytest

from privacy.patients.consent import (
    ANCESTRY,
    DISEASE,
    EVERYTHING,
    GENERAL,
    HEALTH,
    ConsentError,
    DataUse,
    Entry,
    Terms,
    decide,
)
from privacy.patients.consent_files import from_csv, from_fhir

TODAY = date(2031, 5, 6)
LUNG, HEART = "MONDO:0005233", "MONDO:0005267"
USE = DataUse(HEALTH, "", "small")


def entries(*terms: Terms) -> tuple[Entry, ...]:
    return tuple(Entry(n, "2031-01-01T00:00:00Z", t, "00" * 32, 0) for n, t in enumerate(terms, start=1))


def permit(purpose: str = HEALTH, **more: Any) -> Terms:
    return Terms(purpose, "permit", **more)


def deny(purpose: str = EVERYTHING, **more: Any) -> Terms:
    return Terms(purpose, "deny", **more)


DECISIONS = [
    ((), USE, False, "no record"),
    ((permit(),), USE, True, "permitted"),
    ((permit(GENERAL),), USE, True, "permitted"),
    ((permit(ANCESTRY),), USE, False, "not permitted for this purpose"),
    ((permit(HEALTH),), DataUse(GENERAL, "", "small"), False, "not permitted for this purpose"),
    ((permit(DISEASE, disease=LUNG),), DataUse(DISEASE, LUNG, "small"), True, "permitted"),
    (
        (permit(DISEASE, disease=LUNG),),
        DataUse(DISEASE, HEART, "small"),
        False,
        "not permitted for this purpose",
    ),
    ((permit(HEALTH),), DataUse(DISEASE, HEART, "small"), True, "permitted"),
    ((permit(valid_until="2031-05-05"),), USE, False, "expired or not yet valid"),
    ((permit(valid_until="2031-05-06"),), USE, True, "permitted"),
    ((permit(valid_from="2031-05-07"),), USE, False, "expired or not yet valid"),
    ((permit(studies=("other",)),), USE, False, "permitted for other studies"),
    ((permit(studies=("other", "small")),), USE, True, "permitted"),
    ((permit(studies_denied=("small",)),), USE, False, "this study is ruled out by name"),
    ((permit(), deny()), USE, False, "denied or withdrawn"),
    ((permit(), deny(), permit()), USE, True, "permitted"),
    ((permit(), deny(HEALTH)), USE, False, "denied or withdrawn"),
    ((permit(GENERAL), deny(HEALTH)), USE, False, "denied or withdrawn"),
    ((permit(HEALTH), deny(GENERAL)), USE, False, "denied or withdrawn"),
    ((permit(HEALTH), deny(ANCESTRY)), USE, True, "permitted"),
    ((deny(HEALTH), permit(GENERAL)), USE, False, "denied or withdrawn"),
    ((permit(), permit(valid_until="2030-01-01")), USE, False, "expired or not yet valid"),
]


@pytest.mark.parametrize(("terms", "use", "permitted", "reason"), DECISIONS)
def test_a_decision_and_its_reason(
    terms: tuple[Terms, ...], use: DataUse, permitted: bool, reason: str
) -> None:
    found = decide(entries(*terms), use, TODAY)
    assert (found.permitted, found.reason) == (permitted, reason)


@pytest.mark.parametrize(
    "wrong",
    [
        {"purpose": "DUO:9999999"},
        {"purpose": EVERYTHING},
        {"decision": "maybe"},
        {"purpose": DISEASE},
        {"disease": LUNG},
        {"valid_until": "06.05.2031"},
        {"valid_until": "2031-02-30"},
        {"studies": "small"},
        {"more": "x"},
        {"reason": 7},
    ],
)
def test_terms_that_no_rule_could_apply(wrong: dict[str, object]) -> None:
    good = {"purpose": HEALTH, "decision": "permit"}
    assert Terms.from_json(Terms.from_json(good).to_json()) == permit()
    with pytest.raises(ConsentError):
        Terms.from_json(good | wrong)


def test_a_table() -> None:
    text = "patient,purpose,decision,studies,valid_until\nP1,DUO:0000006,permit,a b,2032-01-01\nP2,*,deny,,\n"
    assert from_csv(text, "c.csv") == (
        ("P1", permit(studies=("a", "b"), valid_until="2032-01-01")),
        ("P2", deny()),
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("patient,purpose\nP-CANARY,x\n", "first line"),
        ("patient,purpose,decision,age\nP-CANARY,x,y,z\n", "first line"),
        ("patient,purpose,decision\nP-CANARY,DUO:1,permit\n", "line 2: the purpose"),
        ("patient,purpose,decision\nP-CANARY,*,deny,CANARY\n", "line 2: has more cells"),
        ("patient,purpose,decision\n,*,deny\n", "line 2: names no patient"),
    ],
)
def test_a_table_that_is_wrong_names_the_line_and_nobody(text: str, sentence: str) -> None:
    with pytest.raises(ConsentError, match=sentence) as caught:
        from_csv(text, "c.csv")
    assert "CANARY" not in str(caught.value)


def r4(**changes: object) -> dict[str, object]:
    coding = {"system": "http://purl.obolibrary.org/obo/duo.owl", "code": "DUO_0000006"}
    provision = {
        "type": "permit",
        "period": {"start": "2030-01-01", "end": "2032-01-01"},
        "purpose": [coding],
    }
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "research"}]},
        "patient": {"reference": "Patient/P1"},
        "provision": provision,
    } | changes


def r5(**changes: object) -> dict[str, object]:
    return {
        "resourceType": "Consent",
        "status": "active",
        "subject": {"reference": "Patient/P1"},
        "decision": "deny",
        "provision": [{"purpose": [{"code": "HRESCH"}]}],
    } | changes


def permitted(*resources: dict[str, object]) -> bool:
    statements = from_fhir("\n".join(json.dumps(r) for r in resources), "c.ndjson")
    assert {patient for patient, _ in statements} == {"P1"}
    return decide(entries(*(terms for _, terms in statements)), USE, TODAY).permitted


FHIR = [
    (r4(), True),
    (r4(status="inactive"), False),
    (r4(status="entered-in-error"), False),
    (r4(provision={"type": "deny"}), False),
    (r4(provision={"type": "permit"}), False),
    (r4(provision={"type": "permit", "purpose": [{"code": "TREAT"}]}), False),
    (r4(provision={"type": "permit", "purpose": [{"code": "HRESCH"}], "actor": [{}]}), False),
    (r4(provision={"type": "permit", "purpose": [{"code": "HRESCH"}], "period": {"end": "2031-01"}}), False),
    (
        r4(
            provision={
                "type": "permit",
                "purpose": [{"code": "HRESCH"}],
                "period": {"end": "2031-01-01T00:00:00Z"},
            }
        ),
        False,
    ),
    (
        r4(
            provision={
                "type": "permit",
                "purpose": [{"code": "DUO:0000042"}],
                "provision": [{"type": "deny", "purpose": [{"code": "HRESCH"}]}],
            }
        ),
        False,
    ),
    (r4(provision=None), False),
    (r4(modifierExtension=[{}]), False),
    (r5(), True),
    (r5(provision=[]), False),
    (r5(decision="permit", provision=[]), False),
    (r5(decision="permit", provision=[{"purpose": [{"code": "HRESCH"}]}]), False),
    (r5(decision="whatever"), False),
]


@pytest.mark.parametrize(("resource", "expected"), FHIR)
def test_fhir_r4_and_r5(resource: dict[str, object], expected: bool) -> None:
    assert permitted(resource) is expected


def test_a_later_resource_withdraws_and_bundles_are_read() -> None:
    assert not permitted(r4(), r4(provision={"type": "deny"}))
    bundle = {
        "resourceType": "Bundle",
        "entry": [{"resource": r4()}, {"resource": {"resourceType": "Patient"}}],
    }
    assert len(from_fhir(json.dumps(bundle, indent=1), "b.json")) == 1
    with pytest.raises(ConsentError, match="names no patient"):
        from_fhir(json.dumps(r4(patient={})), "b.json")
    with pytest.raises(ConsentError, match="neither JSON"):
        from_fhir("P-CANARY{", "b.json")

"""Verification: an untouched bundle holds, any changed byte is found, planted faults are on page 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from coordinator.pia.build import build
from privacy.assessment.evidence import load
from privacy.assessment.manifest import listing, make_manifest
from privacy.assessment.pia_document import document
from privacy.assessment.pia_schema import Pia, Status
from privacy.assessment.verify import verify_bundle
from privacy.link.canonical import canonical
from privacy.link.folder_files import FolderFiles
from tests.unit.coordinator.pia.bundles import HOSPITALS, Run, agreement, key, plain_files, write


def built(folder: Path, files: Mapping[str, bytes]) -> dict[str, bytes]:
    build(write(folder, files), identity=key("coordinator"))
    return dict(FolderFiles(folder))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, bytes]:
    return built(tmp_path_factory.mktemp("bundle"), plain_files())


def page_one(files: Mapping[str, bytes]) -> Pia:
    return document(load(files))


def statuses(files: Mapping[str, bytes]) -> dict[str, Status]:
    return {claim.id: claim.status for claim in page_one(files).claims}


@pytest.mark.threat("FL-35", control="C-LOG")
def test_an_untouched_bundle_holds_and_one_changed_byte_of_any_file_does_not(
    bundle: Mapping[str, bytes],
) -> None:
    report = verify_bundle(bundle)
    assert report.ok, [check.text for check in report.checks if not check.ok]
    assert len(bundle) >= 3 + 10
    for path, data in bundle.items():
        for position in (len(data) // 2, len(data) - 1):
            changed = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
            assert not verify_bundle({**bundle, path: changed}).ok, (path, position)


@pytest.mark.threat("FL-35", control="C-LOG")
def test_a_changed_file_is_found_even_when_the_coordinator_signs_again(bundle: Mapping[str, bytes]) -> None:
    """The coordinator itself cannot edit what hospitals signed: ledgers, roster, receipts."""
    for path in ("evidence/ledger/east.jsonl", "evidence/receipts/2.bin", "evidence/roster.json"):
        data = bundle[path]
        middle = len(data) // 2
        edited = {**bundle, path: data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]}
        edited["pia.json"] = canonical(page_one(edited).model_dump(mode="json"))
        edited["manifest.json"] = make_manifest(listing(edited), key("coordinator")).to_bytes()
        report = verify_bundle(edited)
        assert not report.ok, path


@pytest.mark.parametrize("path", ["manifest.json", "pia.json", "pia.html"])
def test_the_document_files_cannot_be_left_out(bundle: Mapping[str, bytes], path: str) -> None:
    assert not verify_bundle({name: data for name, data in bundle.items() if name != path}).ok


def test_a_file_that_nobody_listed_is_found(bundle: Mapping[str, bytes]) -> None:
    assert not verify_bundle({**bundle, "evidence/ledger/another.jsonl": b"x"}).ok


def test_a_manifest_signed_by_a_hospital_is_refused(bundle: Mapping[str, bytes]) -> None:
    report = verify_bundle(
        {**bundle, "manifest.json": make_manifest(listing(bundle), key("east")).to_bytes()}
    )
    assert [check.id for check in report.checks if not check.ok] == ["manifest signature"]


@pytest.mark.threat("FL-36", control="C-HONEST")
@pytest.mark.parametrize(
    ("path", "claims"),
    [
        ("evidence/agreement.json", {"D-AGREEMENT"}),
        ("evidence/roster.json", {"P-ROSTER"}),
        ("evidence/rounds.jsonl", {"E-ROUNDS"}),
        ("evidence/receipts/2.bin", {"E-RECEIPTS"}),
        ("evidence/ledger/west.jsonl", {"E-LEDGER-west"}),
        ("evidence/result.json", {"E-PRINTED", "E-NAMED"}),
        ("evidence/packages.json", {"D-CODE"}),
        ("evidence/threats.json", {"T-REGISTER"}),
    ],
)
def test_removing_an_evidence_file_turns_its_claims_to_gap_and_the_document_to_incomplete(
    bundle: Mapping[str, bytes], path: str, claims: set[str]
) -> None:
    left = {name: data for name, data in bundle.items() if name != path}
    assert {claim for claim, status in statuses(left).items() if status is Status.GAP} >= claims
    assert page_one(left).generator_status == "INCOMPLETE"


def test_every_single_file_can_be_missing_or_nonsense_without_an_exception(
    bundle: Mapping[str, bytes],
) -> None:
    for path in bundle:
        for content in (None, b"{}", b"\xff\x00"):
            files = {name: data for name, data in bundle.items() if name != path}
            assert not verify_bundle(files if content is None else {**files, path: content}).ok


def test_noise_halved_in_the_ledgers_is_a_failure_on_page_one(tmp_path: Path) -> None:
    files = built(tmp_path, Run(agreement(), noise=0.5).files())
    failed = {claim for claim, status in statuses(files).items() if status is Status.FAILED}
    assert failed == {"E-PLAN", "E-AGREED"}
    page = files["pia.html"].decode().partition("Contents")[0]
    assert "charged with other noise" in page
    assert not verify_bundle(files).ok


def test_an_edited_ledger_line_is_a_failure_on_page_one(tmp_path: Path) -> None:
    files = dict(plain_files())
    lines = files["evidence/ledger/north.jsonl"].splitlines(keepends=True)
    files["evidence/ledger/north.jsonl"] = b"".join([*lines[:2], *lines[4:]])
    page = page_one(files)
    # The result was printed when the ledger still held.
    assert {claim.id for claim in page.claims if claim.status is Status.FAILED} == {
        "E-LEDGER-north",
        "E-PRINTED",
    }
    assert any(alert.kind == "failed" for alert in page.alerts)


def test_a_printed_epsilon_that_the_ledgers_do_not_give_is_a_failure() -> None:
    files = dict(plain_files())
    files["evidence/result.json"] = files["evidence/result.json"].replace(b'"epsilon":2.', b'"epsilon":1.')
    assert statuses(files)["E-PRINTED"] is Status.FAILED


@pytest.mark.parametrize("cut", [1, 2])
def test_a_round_that_the_record_leaves_out_is_found(cut: int) -> None:
    files = dict(plain_files())
    lines = files["evidence/rounds.jsonl"].splitlines(keepends=True)
    files["evidence/rounds.jsonl"] = b"".join(line for i, line in enumerate(lines) if i != cut)
    found = statuses(files)
    assert found["E-RECEIPTS"] is Status.FAILED
    assert found["E-PAID"] is Status.FAILED


def test_a_receipt_swapped_with_another_rounds_is_found() -> None:
    files = dict(plain_files())
    files["evidence/receipts/2.bin"], files["evidence/receipts/3.bin"] = (
        files["evidence/receipts/3.bin"],
        files["evidence/receipts/2.bin"],
    )
    assert statuses(files)["E-RECEIPTS"] is Status.FAILED


def test_a_ledger_of_another_hospital_is_not_accepted() -> None:
    files = dict(plain_files())
    files["evidence/ledger/north.jsonl"] = files["evidence/ledger/east.jsonl"]
    assert statuses(files)["E-LEDGER-north"] is Status.FAILED


@pytest.mark.threat("FL-03", control="C-COHORT")
def test_a_record_that_adds_a_hospital_to_a_cohort_is_found() -> None:
    files = Run(agreement(), silent={2: ("south",)}).files()
    assert statuses(files)["E-RECEIPTS"] is Status.VERIFIED
    files["evidence/rounds.jsonl"] = files["evidence/rounds.jsonl"].replace(
        b'["east","north","west"],"missing":[{"hospital":"south","step":"upload"}]',
        b'["east","north","south","west"],"missing":[]',
    )
    assert statuses(files)["E-RECEIPTS"] is Status.FAILED


def test_a_study_without_roster_signatures_fails() -> None:
    files = dict(plain_files())
    roster = load(files).roster
    assert roster is not None
    stolen = {**roster.signatures, "east": roster.signatures["west"]}
    files["evidence/roster.json"] = type(roster)(roster.roster, stolen).canonical
    assert statuses(files)["P-ROSTER"] is Status.FAILED


def test_every_hospital_has_its_own_ledger_claim() -> None:
    assert {f"E-LEDGER-{name}" for name in HOSPITALS} <= statuses(plain_files()).keys()

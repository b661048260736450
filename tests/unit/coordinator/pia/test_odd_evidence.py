"""Odd evidence costs its own author: one hospital's ledger does not destroy the result, and verification never raises."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from coordinator.pia.build import build
from coordinator.results import write_study
from privacy.assessment.evidence import load
from privacy.assessment.pia_document import document
from privacy.assessment.pia_schema import Status
from privacy.assessment.verify import verify_bundle
from privacy.guarantees.accountable import accounting_problem
from privacy.guarantees.release import Release
from privacy.link.canonical import canonical
from privacy.link.folder_files import FolderFiles
from secagg.wire import codec
from secagg.wire.records import LedgerExport
from tests.consortium import World
from tests.unit.coordinator.pia.bundles import agreement, key, plain_files, write

TINY = Release("train", "poisson_gaussian", 1e-4, 1, 0.1, 20)


@pytest.mark.parametrize(
    "releases",
    [
        [TINY],
        [Release("train", "gaussian", 1e-6)],
        [Release("train", "poisson_gaussian", 20.0, 5000, 0.1)],
        [Release("train", "poisson_gaussian", 0.5, 1, 0.5, 10**9)],
        [Release("train", "gaussian", 1.0, steps=10**6)],
        [Release(f"r{number}", "gaussian", 50.0) for number in range(300)],
    ],
)
def test_charges_beyond_accounting_are_a_problem_and_take_no_time(releases: list[Release]) -> None:
    assert accounting_problem(releases)


def test_a_plan_can_be_accounted_for_twenty_times() -> None:
    plan = agreement().plan
    assert plan is not None
    assert accounting_problem(plan.releases * 20) == ""
    dropping = Release("train", "poisson_gaussian", 8.0, 5, 0.05, 400)
    assert accounting_problem([dropping]) == ""


@pytest.mark.threat("FL-36", control="C-HONEST")
def test_a_ledger_that_nobody_can_account_for_costs_nobody_the_result(tmp_path: Path) -> None:
    world = World.of(tmp_path)

    def up(hospital: str, kind: str, message: bytes) -> tuple[bytes, ...]:
        if (hospital, kind) != ("d", "ledger_export"):
            return (message,)
        ledger = world.nodes["d"].ledger
        ledger.reserve(study_hash="ee" * 32, study_id="x", session="00" * 16, round_number=1, release=TINY)
        return (codec.pack("ledger_export", LedgerExport(ledger.export(world.agreement.hash))),)

    world.link.up = up
    run, executed = world.execute()
    out = tmp_path / "out"
    result = write_study(
        out, world.agreement, world.signed, executed.record, run.state.rounds(run.study_hash)
    )
    build(out, identity=world.keys["coordinator"].identity_private)
    assert result["status"] == "done"
    assert "too little noise" in result["per_hospital"]["d"]["reason"]
    assert result["guarantee"]["epsilon"] == result["guarantee_planned"]["epsilon"]
    failed = {c.id for c in verify_bundle(FolderFiles(out)).claims if c.status is Status.FAILED}
    assert failed == {"E-LEDGER-d"}


@pytest.mark.parametrize(
    ("path", "key", "value"),
    [
        ("evidence/agreement.json", "plan", 1),
        ("evidence/result.json", "cohort", {"answered": 1}),
        ("evidence/result.json", "cohort", {"answered": [], "missing": [[1]]}),
        ("evidence/result.json", "coefficients", {"a": 1}),
        ("evidence/roster.json", "roster", None),
        ("evidence/budgets.json", "east", []),
    ],
)
def test_odd_values_are_failed_checks_and_no_exception(path: str, key: str, value: object) -> None:
    files = dict(plain_files())
    body = json.loads(files.get(path, b"{}"))
    body[key] = value
    assert not verify_bundle({**files, path: canonical(body)}).ok


def test_a_file_that_cannot_be_read_fails_although_the_coordinator_signed_it(tmp_path: Path) -> None:
    body = json.loads(plain_files()["evidence/result.json"]) | {"transport": "pigeons"}
    files = {**plain_files(), "evidence/result.json": canonical(body)}
    build(write(tmp_path, files), identity=key("coordinator"))
    failed = {check.id for check in verify_bundle(FolderFiles(tmp_path)).checks if not check.ok}
    assert failed == {"reading evidence/result.json"}


def test_an_error_in_the_middle_of_the_evaluation_is_a_failed_check(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from privacy.assessment import verify

    def breaks(evidence: object) -> object:
        raise MemoryError

    monkeypatch.setattr(verify, "document", breaks)
    report = verify_bundle(plain_files())
    assert [(check.id, check.ok) for check in report.checks] == [("evaluation", False)]
    assert document(load(plain_files()))

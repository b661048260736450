"""What people read in the end follows from the evidence, or says that it is the coordinator's word."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coordinator.pia.build import build
from coordinator.results import write_result, write_study
from privacy.assessment.evidence import load
from privacy.assessment.pia_document import document
from privacy.assessment.pia_schema import Status
from privacy.assessment.verify import verify_bundle
from privacy.link.canonical import canonical
from privacy.link.folder_files import FolderFiles
from privacy.studies.trained_model import TrainedModel
from secagg.receipt import without_sum
from tests.consortium import MODE_NONE, World
from tests.unit.coordinator.pia.bundles import Run, agreement


def run_study(world: World) -> Path:
    run, executed = world.execute()
    out = world.root / "out"
    write_study(out, world.agreement, world.signed, executed.record, run.state.rounds(run.study_hash))
    build(out, identity=world.keys["coordinator"].identity_private)
    return out


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[World, Path]:
    world = World.of(tmp_path_factory.mktemp("results"))
    world.link.up = lambda h, k, m: (
        () if (h, k) == ("d", "agreement") and len(world.ledger("d")) == 4 else (m,)
    )
    return world, run_study(world)


def statuses(files: dict[str, bytes]) -> dict[str, Status]:
    return {claim.id: claim.status for claim in document(load(files)).claims}


def test_the_model_and_every_figure_follow_from_the_signed_sums(finished: tuple[World, Path]) -> None:
    files = dict(FolderFiles(finished[1]))
    assert verify_bundle(files).ok
    found = statuses(files)
    assert [found[c] for c in ("E-MODEL", "E-COEFFICIENTS", "E-RESULT", "E-PRINTED")] == [Status.VERIFIED] * 4
    assert found["D-AGREEMENT"] is Status.VERIFIED
    assert found["E-STAGE-COST"] is Status.ATTESTED
    scales = {row["name"]: row["scale"] for row in json.loads(files["result.json"])["coefficients"]}
    assert all(scales.values())


def invent_model(world: World, files: dict[str, bytes], result: dict[str, Any]) -> None:
    theta = np.zeros(world.agreement.parameters)
    files["model.json"] = TrainedModel.of(world.agreement, theta).to_bytes()


def edit(**changes: object) -> Callable[[World, dict[str, bytes], dict[str, Any]], None]:
    return lambda world, files, result: result.update(changes)


def edit_coefficient(world: World, files: dict[str, bytes], result: dict[str, Any]) -> None:
    result["coefficients"][0]["log_hr"] = -9.99


def edit_hospital(**changes: object) -> Callable[[World, dict[str, bytes], dict[str, Any]], None]:
    return lambda world, files, result: result["per_hospital"]["a"].update(changes)


def edit_plan(world: World, files: dict[str, bytes], result: dict[str, Any]) -> None:
    result["guarantee_planned"]["epsilon"] = 0.01


@pytest.mark.threat("FL-36", control="C-HONEST")
@pytest.mark.parametrize(
    ("fake", "claim"),
    [
        (invent_model, "E-MODEL"),
        (edit_coefficient, "E-COEFFICIENTS"),
        (edit(rounds=400), "E-RESULT"),
        (edit_hospital(n_public=99999), "E-RESULT"),
        (edit_hospital(epsilon_all_studies=0.01), "E-PRINTED"),
        (edit_plan, "E-PRINTED"),
    ],
)
def test_an_invented_result_fails_although_the_coordinator_signs_it(
    finished: tuple[World, Path],
    tmp_path: Path,
    fake: Callable[[World, dict[str, bytes], dict[str, Any]], None],
    claim: str,
) -> None:
    world, out = finished
    files = dict(FolderFiles(out))
    result = json.loads(files["result.json"])
    fake(world, files, result)
    for path, data in files.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(data)
    write_result(tmp_path, result)
    build(tmp_path, identity=world.keys["coordinator"].identity_private)
    report = verify_bundle(FolderFiles(tmp_path))
    assert not report.ok
    assert claim in {found.id for found in report.claims if found.status is Status.FAILED}


def test_receipts_without_their_sums_leave_a_gap(finished: tuple[World, Path]) -> None:
    files = dict(FolderFiles(finished[1]))
    files["evidence/receipts/2.bin"] = without_sum(files["evidence/receipts/2.bin"])
    assert statuses(files)["E-MODEL"] is Status.GAP


def test_another_result_beside_the_evidence_is_found(finished: tuple[World, Path]) -> None:
    files = dict(FolderFiles(finished[1])) | {"result.json": b"{}"}
    assert "result" in {check.id for check in verify_bundle(files).checks if not check.ok}


def test_under_an_adaptive_strategy_the_model_is_the_coordinators_word(tmp_path: Path) -> None:
    adaptive = ('family = "piecewise_exponential"', 'family = "piecewise_exponential"\nstrategy = "fedadam"')
    world = World.of(tmp_path, *MODE_NONE, adaptive)
    files = dict(FolderFiles(run_study(world)))
    assert verify_bundle(files).ok
    assert statuses(files)["E-MODEL"] is Status.ATTESTED
    claim = next(c for c in document(load(files)).claims if c.id == "E-MODEL")
    assert "told by the coordinator" in claim.text


def test_with_the_agreement_alone_nothing_says_that_it_ran_and_budgets_are_stated() -> None:
    files = Run(agreement()).files()
    alone = {"evidence/agreement.json": files["evidence/agreement.json"]}
    assert statuses(alone)["D-AGREEMENT"] is Status.GAP
    budgets = {
        name: {"epsilon_total": 1000.0, "delta_total": 1e-3} for name in ("east", "north", "south", "west")
    }
    assert statuses({**files, "evidence/budgets.json": canonical(budgets)})["E-BUDGET"] is Status.STATED

"""The printed epsilon is never below what may have been charged: a ledger that is missing, broken or open costs the plan's bound."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from coordinator.pia.build import build
from coordinator.results import write_study
from privacy.assessment.evidence import load
from privacy.assessment.pia_document import document
from privacy.assessment.pia_schema import Pia, Status
from privacy.assessment.recompute_ledgers import LedgerFacts, guaranteed_epsilon, planned_epsilon
from privacy.assessment.verify import verify_bundle
from privacy.link.folder_files import FolderFiles
from secagg.wire import codec
from secagg.wire.records import LedgerExport
from tests.consortium import World
from tests.unit.coordinator.pia.bundles import Run, agreement, plain_files
from tests.unit.coordinator.pia.test_missing import order_round


def page(files: Mapping[str, bytes]) -> tuple[Pia, dict[str, Status]]:
    made = document(load(files))
    return made, {claim.id: claim.status for claim in made.claims}


@pytest.mark.threat("FL-36", control="C-HONEST")
@pytest.mark.parametrize("run", ["lost_ledgers", "open_ledgers"])
def test_without_a_closed_ledger_of_everybody_the_plan_is_printed(run: str) -> None:
    """South took part in everything; the others missed round 2, so their ledgers show less."""
    settings: dict[str, Any] = {run: ("south",)}
    files = Run(agreement(), **settings).files()
    made, found = page(files)
    planned = planned_epsilon(agreement())
    result = load(files).result
    assert result is not None
    assert result.guarantee.epsilon == planned
    assert found["E-GUARANTEE"] is Status.GAP
    assert found["E-LEDGER-south"] is Status.GAP
    assert found["E-PRINTED"] is Status.VERIFIED
    assert "the bound of the study's plan" in made.headline
    assert "south" in made.headline
    south = next(hospital for hospital in made.dp.per_hospital if hospital.hospital == "south")
    assert (south.status, south.epsilon_run) == (Status.GAP, None)


@pytest.mark.threat("FL-36", control="C-HONEST")
def test_a_study_that_ended_early_costs_no_less_than_its_plan() -> None:
    """Sums may have decided the stop, so closed ledgers with fewer rounds lower nothing; what exceeds the plan is printed."""
    early = [LedgerFacts(name, "", final=True, epsilon_shown=0.5) for name in ("east", "south")]
    assert guaranteed_epsilon(1.0, early) == 1.0
    assert guaranteed_epsilon(1.0, [*early, LedgerFacts("west", "", final=True, epsilon_shown=1.2)]) == 1.2


@pytest.mark.threat("FL-36", control="C-HONEST")
def test_in_mode_none_the_notes_show_a_round_that_the_record_hides() -> None:
    """Four hospitals, then three, with the second sum left out: what is subtracted is one hospital's own vector."""
    files = Run(agreement("none"), silent={3: ("south",)}).files()
    _, found = page(files)
    assert (found["E-PAID"], found["E-RANK"]) == (Status.VERIFIED, Status.UNDEFINED)
    lines = files["evidence/rounds.jsonl"].splitlines(keepends=True)
    hidden = {**files, "evidence/rounds.jsonl": b"".join(lines[:2])}
    hidden = {path: data for path, data in hidden.items() if path != "evidence/receipts/3.bin"}
    _, found = page(hidden)
    assert (found["E-PAID"], found["E-RANK"]) == (Status.FAILED, Status.GAP)


def test_in_mode_none_an_open_or_missing_ledger_leaves_the_rank_unknown() -> None:
    for run in (
        Run(agreement("none"), lost_ledgers=("south",)),
        Run(agreement("none"), open_ledgers=("south",)),
    ):
        made, found = page(run.files())
        assert found["E-RANK"] is found["E-LEDGER-south"] is Status.GAP
    assert "the exact sum over the named hospitals" in made.headline
    _, found = page(Run(agreement("none")).files())
    assert found["E-RANK"] is Status.VERIFIED
    made, found = page(Run(agreement("none"), aborted=(2,)).files())
    assert found["E-RANK"] is Status.GAP
    aborted = next(claim for claim in made.claims if claim.id == "E-ABORTED")
    assert "begun: round 2 at east, north, south, west" in aborted.limits


def test_with_closed_ledgers_of_everybody_the_number_is_verified() -> None:
    _, found = page(plain_files())
    assert found["E-GUARANTEE"] is Status.VERIFIED
    assert found["E-LEDGER-south"] is Status.ATTESTED


def assessed(world: World, out: Path) -> tuple[dict[str, Any], dict[str, Status]]:
    run, executed = world.execute()
    result = write_study(
        out, world.agreement, world.signed, executed.record, run.state.rounds(run.study_hash)
    )
    build(out, identity=world.keys["coordinator"].identity_private)
    report = verify_bundle(FolderFiles(out))
    assert report.ok, [claim.text for claim in report.claims if claim.status is Status.FAILED]
    return result, {claim.id: claim.status for claim in report.claims}


def test_a_ledger_of_who_took_part_least_does_not_speak_for_the_others(tmp_path: Path) -> None:
    """d misses the training and is the only one whose ledger arrives."""
    world = World.of(tmp_path)

    def down(hospital: str, kind: str, message: bytes) -> tuple[bytes, ...]:
        if kind == "ledger_export_request" and hospital != "d":
            return ()
        if (hospital, kind) == ("d", "round_order") and order_round(message) > 1:
            return ()
        return (message,)

    world.link.down = down
    result, found = assessed(world, tmp_path / "out")
    assert result["guarantee"]["epsilon"] == result["guarantee_planned"]["epsilon"]
    assert found["E-GUARANTEE"] is Status.GAP


def test_an_export_from_the_middle_of_the_study_does_not_lower_the_number(tmp_path: Path) -> None:
    world = World.of(tmp_path)
    early: dict[str, bytes] = {}

    def down(hospital: str, kind: str, message: bytes) -> tuple[bytes, ...]:
        if kind == "round_order" and order_round(message) == 3:
            early[hospital] = world.nodes[hospital].ledger.export(world.agreement.hash)
        return (message,)

    world.link.down = down
    world.link.up = lambda h, k, m: (
        (codec.pack("ledger_export", LedgerExport(early[h])),) if k == "ledger_export" else (m,)
    )
    result, found = assessed(world, tmp_path / "out")
    assert result["guarantee"]["epsilon"] == result["guarantee_planned"]["epsilon"]
    assert result["per_hospital"]["a"]["epsilon"] is None
    assert {found["E-GUARANTEE"], found["E-LEDGER-a"]} == {Status.GAP}

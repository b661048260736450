"""A coordinator that counts more noise as taken out than hospitals told is found from their own signed statements."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest

from coordinator.pia.build import build
from coordinator.results import write_study
from coordinator.spare_noise import SpareNoiseTaken
from privacy.assessment.claims_spare import spare_noise
from privacy.assessment.evidence import LEDGERS, load
from privacy.assessment.pia_schema import Claim, Status
from privacy.assessment.recompute import recompute
from privacy.assessment.verify import verify_bundle
from privacy.ledgers.ledger_export import SEAL_LABEL, export, read_sealed
from privacy.ledgers.told_noise import Runs
from privacy.link.folder_files import FolderFiles
from privacy.studies import exchange
from secagg import identity
from secagg.masks import Ring
from secagg.wire import codec
from secagg.wire.records import LedgerExport, SpareNoise
from tests.consortium import HOSPITALS, World
from tests.unit.coordinator.test_statistics_study import STATED

# A life table, a Hessian and one step.
DISTRIBUTED = (('mode = "local"', 'mode = "distributed"'), (STATED, "\nrounds = 1"))
Sum = tuple[Ring, tuple[str, ...]]


def silent_d(world: World) -> None:
    """Between agreeing and opening d's process dies, in every round: it opens, and has nothing to tell."""

    def down(who: str, kind: str, message: bytes) -> list[bytes]:
        if (who, kind) == ("d", "open_request"):
            offer = next(m for h, k, m in world.link.sent if (h, k) == ("d", "study_offer"))
            list(world.restart("d").on_message(offer))
        return [message]

    world.link.down = down


def bundle(world: World, out: Path) -> dict[str, bytes]:
    run, executed = world.execute()
    assert executed.failed is None, executed.failed
    write_study(out, world.agreement, world.signed, executed.record, run.state.rounds(run.study_hash))
    build(out, identity=world.keys["coordinator"].identity_private)
    return dict(FolderFiles(out))


def spare(claims: tuple[Claim, ...]) -> Claim:
    return next(claim for claim in claims if claim.id == "E-SPARE")


def told(files: dict[str, bytes], world: World, hospital: str) -> Runs | None:
    return read_sealed(files[f"{LEDGERS}{hospital}.jsonl"], world.keys[hospital].identity_public).told


@pytest.fixture
def everybody_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The coordinator that lies: whoever told nothing is counted all the same, in the sum that it signs and by name."""
    as_built: Callable[..., Sum] = SpareNoiseTaken.out_of

    def out_of(self: SpareNoiseTaken, total: Ring, members: tuple[str, ...]) -> Sum:
        quiet, _ = as_built(self, total, members)
        quiet[exchange.REMOVED] = len(members)
        return quiet, tuple(members)

    monkeypatch.setattr(SpareNoiseTaken, "out_of", out_of)


@pytest.mark.threat("FL-36", control="C-HONEST")
def test_a_count_above_what_hospitals_told_fails(tmp_path: Path, everybody_counts: None) -> None:
    world = World.of(tmp_path, *DISTRIBUTED)
    silent_d(world)
    report = verify_bundle(bundle(world, tmp_path / "out"))
    claim = spare(report.claims)
    assert claim.status is Status.FAILED
    assert "round 1 counts d, who signed that they told none" in claim.text
    assert not report.ok
    # Nothing else in the bundle shows it: the sum, its receipt and the record agree on the false count.
    assert [c.id for c in report.claims if c.status is Status.FAILED] == ["E-SPARE"]


def test_an_honest_count_is_verified_also_where_one_told_nothing(tmp_path: Path) -> None:
    """d told nothing, what b told never arrived: b's statement may be above the count, never below it."""
    world = World.of(tmp_path, *DISTRIBUTED)
    silent_d(world)
    study_hash = bytes.fromhex(world.agreement.hash)
    seen = set[tuple[str, int]]()

    def up(who: str, kind: str, message: bytes) -> list[bytes]:
        if kind == "spare_noise":
            number = codec.unpack(kind, SpareNoise, message).round
            # On disk before its first byte left: a crash from here on cannot make a liar of who takes it out.
            with closing(sqlite3.connect(tmp_path / "state" / who / "journal.db")) as other:
                rows = other.execute("SELECT first FROM told WHERE study_hash = ?", (study_hash,)).fetchall()
            assert (number,) in rows
            seen.add((who, number))
        return [] if (who, kind) == ("b", "spare_noise") else [message]

    world.link.up = up
    files = bundle(world, tmp_path / "out")
    report = verify_bundle(files)
    assert report.ok, [claim.text for claim in report.claims if claim.status is Status.FAILED]
    assert spare(report.claims).status is Status.VERIFIED
    assert seen == {(who, number) for who in ("a", "b", "c") for number in (1, 2, 3)}
    assert {who: told(files, world, who) for who in HOSPITALS} == {**dict.fromkeys("abc", ((1, 3),)), "d": ()}
    without_a_statement(world, files)
    a_lost_journal(world)


def without_a_statement(world: World, files: dict[str, bytes]) -> None:
    """Of a hospital that is counted nobody knows then."""
    seal = partial(identity.sign, world.keys["a"].identity_private, SEAL_LABEL)
    entries, path = world.nodes["a"].ledger.entries(), f"{LEDGERS}a.jsonl"
    mute = export(entries, "2031-05-06T07:08:09Z", seal, study_hash=world.agreement.hash)
    other = export(entries, "2031-05-06T07:08:09Z", seal, study_hash="0" * 64, told=())
    for silent in (mute, other):
        evidence = load({**files, path: silent})
        assert [c.status for c in spare_noise(evidence, recompute(evidence))] == [Status.GAP]


def a_lost_journal(world: World) -> None:
    """Nobody knows any more what c told: it states every round that its ledger and its anchor know."""
    world.nodes["c"].journal.close()
    for lost in (world.root / "state" / "c").glob("journal.db*"):
        lost.unlink()
    node = world.restart("c")
    assert node.journal.restored
    for kind in ("study_offer", "ledger_export_request"):
        asked = next(m for h, k, m in world.link.sent if (h, k) == ("c", kind))
        *_, reply = node.on_message(asked)
    jsonl = codec.unpack("ledger_export", LedgerExport, reply).jsonl
    assert read_sealed(jsonl, world.keys["c"].identity_public).told == ((1, 3),)

"""The stages synthetic_dp and synthetic_sdv in a study: the table is drawn once, paid once, kept, and all that the rounds see."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from hospital_node.admission import Admission
from hospital_node.consent_round import forget_former, respect_consent
from hospital_node.consent_store import RegisterPlace
from hospital_node.kept_set import KeptSetLost
from hospital_node.ledger_store import LedgerStore
from hospital_node.node import Node
from hospital_node.synthesis import in_study, stage_table
from hospital_node.synthesis.in_study import Stage
from hospital_node.synthesis.rows import typed
from hospital_node.synthesis.stage_table import Drawing, private_table, unprotected_table
from hospital_node.table import read_table
from privacy.guarantees.stage_release import VoidRelease
from privacy.ledgers.data_epoch import epoch_note
from privacy.ledgers.ledger import GENESIS
from privacy.synthesis.charges import DerivedRelease, SynthesisRelease
from privacy.synthesis.gate import gate_of
from secagg.secret import SecretBytes
from tests.bent_link import ManualClock
from tests.consortium import MODE_NONE, Hand, World, offer
from tests.study_files import study, table, write_csv
from tests.unit.hospital_node.consents import DUO, WITHDRAW, opened, register

PRIVATE = ('kind = "generalize"', 'kind = "synthetic_dp"\nepsilon = 1.0\ndelta = 1e-6')
WHOLE = ("\nsample_rate = 1.0", "")
SDV = ('"generalize"', '"synthetic_sdv"')
STAGE = SynthesisRelease(1.0, 1e-6, "ab" * 32, (20.0, 8.0, 13.0, 10.0))
STUDY = study(PRIVATE)
PAID = ["NOTE", "RESERVE", "SPENT"]


@pytest.fixture
def ledger(tmp_path: Path) -> LedgerStore:
    return LedgerStore(tmp_path / "ledger.db", SecretBytes(b"\x07" * 32), ManualClock())


@pytest.fixture
def place(tmp_path: Path) -> RegisterPlace:
    return RegisterPlace(tmp_path / "consents.db", tmp_path / "consent.key")


def kinds(ledger: LedgerStore) -> list[str]:
    return [entry.kind for entry in ledger.entries()]


def made(seed: int, rows: int = 30) -> pd.DataFrame:
    """A table with the types of `read_table`; what it holds does not matter here."""
    frame = table(rows, seed).assign(pid=[f"S{seed}-{i}" for i in range(rows)])
    frame.loc[::3, "marker"] = np.nan
    return typed(frame, STUDY.dictionary)


def drawing(folder: Path, ledger: LedgerStore, study_hash: str, **more: Any) -> Drawing:
    return Drawing(STUDY, study_hash, folder / "kept", ledger, lambda _: None, **more)


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_one_table_an_epoch_for_all_studies_with_these_settings(tmp_path: Path, ledger: LedgerStore) -> None:
    draws: list[int] = []

    def draw() -> pd.DataFrame:
        draws.append(1)
        return made(len(draws))

    def ask(study_hash: str, stage: SynthesisRelease = STAGE, **more: Any) -> pd.DataFrame:
        return private_table(stage, drawing(tmp_path, ledger, study_hash, **more), draw)[0]

    first = ask("aa" * 32)
    pd.testing.assert_frame_equal(first, made(1))
    for study_hash in ("aa" * 32, "bb" * 32) * 3:
        pd.testing.assert_frame_equal(ask(study_hash), first)
    assert (len(draws), kinds(ledger)) == (1, ["RESERVE", "SPENT", "NOTE"])
    assert not ask("cc" * 32, replace(STAGE, epsilon=2.0)).equals(first)
    assert (len(draws), kinds(ledger)[3:]) == (2, ["RESERVE", "SPENT"])
    # A register was asked: who permitted the first study may not have permitted this one.
    assert not ask("dd" * 32, own=True).equals(first)
    assert (len(draws), kinds(ledger)[5:]) == (3, ["RESERVE", "SPENT"])
    ledger.note(study_hash=GENESIS, study_id="", session="", text=epoch_note("2027"))
    assert not ask("ee" * 32).equals(first)
    assert (len(draws), kinds(ledger)[8:]) == (4, ["RESERVE", "SPENT"])


@pytest.mark.threat("FL-27", control="C-BUDGETALL")
def test_a_crash_anywhere_leaves_one_table_and_one_charge(
    tmp_path: Path, ledger: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    mine, seen = drawing(tmp_path, ledger, "aa" * 32), iter(range(1, 9))

    def ask() -> pd.DataFrame:
        return private_table(STAGE, mine, lambda: made(next(seen)))[0]

    with monkeypatch.context() as patched:
        patched.setattr(stage_table, "_store", dies)
        with pytest.raises(KeyboardInterrupt):
            ask()
    assert kinds(ledger) == ["RESERVE"]
    with monkeypatch.context() as patched:
        patched.setattr(LedgerStore, "spend", dies)
        with pytest.raises(KeyboardInterrupt):
            ask()
    (path,) = (tmp_path / "kept").iterdir()
    stored = path.read_bytes()
    pd.testing.assert_frame_equal(ask(), made(2))
    assert path.read_bytes() == stored
    assert kinds(ledger) == ["RESERVE", "SPENT"]
    for content in (None, "[", "{}", '{"columns": {"age": [1]}}'):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(KeptSetLost):
            ask()
    assert kinds(ledger) == ["RESERVE", "SPENT"]


def test_who_stored_first_is_who_is_used(tmp_path: Path, ledger: LedgerStore) -> None:
    mine, other = drawing(tmp_path, ledger, "aa" * 32), drawing(tmp_path, ledger, "bb" * 32)

    def draw() -> pd.DataFrame:
        # Another process of this hospital draws for its study meanwhile.
        private_table(STAGE, other, lambda: made(1))
        return made(2)

    pd.testing.assert_frame_equal(private_table(STAGE, mine, draw)[0], made(1))
    assert kinds(ledger) == ["RESERVE", "RESERVE", "SPENT", "SPENT"]


def test_a_copying_generators_table_goes_with_who_withdraws(tmp_path: Path, ledger: LedgerStore) -> None:
    void = VoidRelease("synthetic_sdv", "no budget")

    def ask(patients: tuple[str, ...], seed: int) -> pd.DataFrame:
        mine = drawing(tmp_path, ledger, "aa" * 32, own=True, patients=patients)
        return unprotected_table(void, 30, mine, lambda: made(seed))[0]

    first = ask(("p", "q"), 1)
    pd.testing.assert_frame_equal(ask(("p", "q", "r"), 2), first)
    pd.testing.assert_frame_equal(ask(("q",), 3), made(3))
    assert kinds(ledger) == ["RESERVE", "SPENT"]


def cohort(node: Node) -> np.ndarray:
    assert node.admitted is not None
    return node.admitted.local.cohort.x


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_study_lives_on_its_private_table_and_a_restart_finds_it(tmp_path: Path) -> None:
    world = World.of(tmp_path, PRIVATE, WHOLE, rows=60)
    hand = Hand(world).join()
    hand.round(1)
    for hospital, node in world.nodes.items():
        entries = node.ledger.entries()
        assert [e.kind for e in entries] == [*PAID, "RESERVE", "SPENT"]
        assert isinstance(entries[1].record.release, SynthesisRelease)
        assert isinstance(entries[3].record.release, DerivedRelease)
        assert gate_of(entries, world.agreement.hash) == "measure"
        (stored,) = (tmp_path / "state" / hospital / "kept").glob("*.table.json")
        ids = json.loads(stored.read_text())["columns"]["pid"]
        assert len(ids) == len(cohort(node))
        assert not set(ids) & set(table(60)["pid"])
    node = world.nodes["a"]
    reports, before = node.admission.reports, cohort(node)
    assert json.loads((reports / "small.synthetic.json").read_text())["synthetic_gate"] == "measure"
    assert json.loads((reports / "small.stage.json").read_text())["rows_before"] == 60
    again = world.restart("a")
    list(again.on_message(offer(world)))
    np.testing.assert_array_equal(cohort(again), before)
    assert [e.kind for e in again.ledger.entries()] == [*PAID, "RESERVE", "SPENT"]


def staged(folder: Path, ledger: LedgerStore, gate: Any, sdv: Any = None, plan: Any = None) -> Stage:
    nobody: Any = None
    return Stage(plan, drawing(folder, ledger, "aa" * 32), 30, gate, folder / "r.json", nobody, nobody, sdv)


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_gate_that_stops_was_decided_before_and_is_measured_once(
    tmp_path: Path, ledger: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []
    own = in_study.quality

    def counting(*given: Any) -> object:
        measured.append(1)
        return own(*given)

    monkeypatch.setattr(in_study, "quality", counting)
    frame = read_table(write_csv(table(60), tmp_path), STUDY.dictionary)

    def collapsed(rows: pd.DataFrame, count: int) -> pd.DataFrame:
        return made(3, count).assign(dead=0.0)

    for _ in range(2):
        with pytest.raises(in_study.TableHeldBack, match="takes no part"):
            staged(tmp_path, ledger, "stop", collapsed).patients(frame)
    assert len(measured) == 1
    assert kinds(ledger) == ["NOTE"]
    assert gate_of(ledger.entries(), "aa" * 32) == "stop"
    # What was decided before the first look stays decided, whatever the policy says now.
    with pytest.raises(in_study.TableHeldBack):
        staged(tmp_path, ledger, "measure", collapsed).patients(frame)
    assert gate_of(ledger.entries(), "aa" * 32) == "stop"


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_gate_that_was_written_to_stop_nothing_stops_nothing_later(
    tmp_path: Path, ledger: LedgerStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stage, "_passes", lambda *_: False)
    frame = read_table(write_csv(table(60), tmp_path), STUDY.dictionary)
    for gate in ("measure", "stop"):
        found, _ = staged(tmp_path, ledger, gate, lambda rows, count: made(3, count)).patients(frame)
        assert len(found) == 30
    assert gate_of(ledger.entries(), "aa" * 32) == "measure"


@pytest.mark.threat("FL-26", control="C-DPSYNTH")
def test_a_hospital_whose_table_is_held_back_says_what_every_refusal_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World.of(tmp_path, PRIVATE, WHOLE, rows=60)
    node = world.with_policy(world.nodes["a"], synthetic_gate="stop")
    monkeypatch.setattr(Stage, "_passes", lambda *_: False)
    (answer,) = node.on_message(offer(world))
    assert Admission.TOLD.encode() in answer
    assert b"gate" not in answer
    assert [e.kind for e in node.ledger.entries()] == PAID
    assert node.ended is not None
    assert node.ended.exit_code == 1
    assert "quality gate" in node.ended.reason


@pytest.mark.threat("FL-37", control="C-OPTOUT")
@pytest.mark.parametrize("changes", [(PRIVATE, WHOLE), (SDV,), (SDV, *MODE_NONE)], ids=["dp", "sdv", "none"])
def test_a_withdrawal_reaches_copies_and_is_recorded_for_a_private_table(
    tmp_path: Path, place: RegisterPlace, changes: tuple[tuple[str, str], ...]
) -> None:
    world = World.of(tmp_path, DUO, *changes, rows=60)
    register(place, 60)
    node, private = world.nodes["a"], changes[0] == PRIVATE
    own = node.admission
    policy = own.policy.model_copy(update={"consent_register": True})

    def generator(rows: pd.DataFrame, count: int) -> pd.DataFrame:
        return made(5, count)

    node.admission = Admission(
        own.me, own.roster, policy, own.study, own.data, own.reports, consents=place, sdv=generator
    )
    list(node.on_message(offer(world)))
    before, (stored,) = cohort(node), (tmp_path / "state" / "a" / "kept").glob("*.table.json")
    respect_consent(node, "00", 1)
    with opened(place) as store:
        store.add([("P00003", WITHDRAW)], b"")
    respect_consent(node, "00", 2)
    forget_former(node)
    assert node.admitted is not None
    records = [json.loads(p.read_bytes()) for p in (own.reports / "consent").glob("*/*.json")]
    (record,) = [r for r in records if r.get("withdrawn")]
    if private:
        np.testing.assert_array_equal(cohort(node), before)
        assert len(node.admitted.local.pseudonyms) == 59
        assert record["action"].startswith("stay:")
        assert stored.exists()
    else:
        assert len(cohort(node)) == 0
        assert record["action"].startswith("stop:")
        assert not stored.exists()
    place.database.unlink()
    respect_consent(node, "00", 3)
    assert len(cohort(node)) == 0

"""The ledger's file: append-only, verified when opened, shared by two connections."""

import sqlite3
import stat
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hospital_node.ledger_store import LedgerStore
from privacy.guarantees.release import Release
from privacy.ledgers.charges import charged
from privacy.ledgers.data_epoch import epoch_name, epoch_note
from privacy.ledgers.ledger import ENTRY_LABEL, GENESIS, Entry, Ledger, LedgerBroken, Record
from privacy.ledgers.ledger_export import read_export
from privacy.ledgers.policy_refusal import PolicyRefusal
from secagg.identity import public_key, sign
from secagg.secret import SecretBytes

SEED = SecretBytes(b"\x05" * 32)
STUDY, SESSION = "ab" * 32, "01" * 16
TRAIN = Release("train", "poisson_gaussian", 2.3, sample_rate=0.1, steps=20)


class StoppedClock:
    """One moment."""

    def now(self) -> datetime:
        return datetime(2026, 1, 31, 12, tzinfo=UTC)

    def monotonic_s(self) -> float:
        return 0.0


def opened(path: Path) -> LedgerStore:
    return LedgerStore(path / "ledger.sqlite", SEED, StoppedClock())


def reserve(store: LedgerStore, number: int, release: Release = TRAIN) -> None:
    store.reserve(study_hash=STUDY, study_id="demo", session=SESSION, round_number=number, release=release)


def spend(store: LedgerStore, number: int) -> None:
    store.spend(study_hash=STUDY, session=SESSION, round_number=number)


def test_entries_survive_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        reserve(store, 1)
        spend(store, 1)
        reserve(store, 2)
        assert store.durability() == ("wal", 2)
        store.abort(study_hash=STUDY, study_id="demo", session=SESSION, round_number=2, reason="a peer left")
        store.note(study_hash=STUDY, study_id="demo", session=SESSION, text="resumed")
        before = store.entries()
    with opened(tmp_path) as store:
        assert store.entries() == before
        assert [entry.kind for entry in before] == ["RESERVE", "SPENT", "RESERVE", "ABORT", "NOTE"]
        assert before[0].record.time_iso == "2026-01-31T12:00:00Z"
        assert read_export(store.export(), public_key(SEED)) == before


def test_a_restarted_round_finds_its_reservation_but_a_spent_one_is_closed(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        reserve(store, 1)
        reserve(store, 1)
        assert len(store.entries()) == 1
        with pytest.raises(LedgerBroken, match="reserved already"):
            reserve(store, 1, Release("train", "gaussian", 9.0))
        spend(store, 1)
        for again in (lambda: reserve(store, 1), lambda: spend(store, 1), lambda: spend(store, 2)):
            with pytest.raises(LedgerBroken):
                again()
        assert charged(store.entries()) == (TRAIN,)
        # A refused step leaves no open transaction behind.
        reserve(store, 2)


def test_settling_brings_a_reservation_to_the_disk_once(tmp_path: Path) -> None:
    """Also one that a killed process left; SQLite syncs a write-ahead log only where a transaction writes."""
    log = tmp_path / "ledger.sqlite-wal"
    with opened(tmp_path) as killed, opened(tmp_path) as store:
        killed.reserve(
            study_hash=STUDY, study_id="demo", session=SESSION, round_number=1, release=TRAIN, durable=False
        )
        for owner in (killed, store):
            before = log.stat().st_size
            owner.settle()
            assert (owner.durability(), log.stat().st_size > before) == (("wal", 2), True)
            again = log.stat().st_size
            owner.settle()
            assert log.stat().st_size == again


@pytest.mark.threat("FL-15", control="C-LEDGER")
@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM entries", "UPDATE entries SET line = x'00'", "DELETE FROM entries WHERE seq = 1"],
)
def test_the_file_refuses_changes(tmp_path: Path, statement: str) -> None:
    with opened(tmp_path) as store:
        reserve(store, 1)
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    with pytest.raises(sqlite3.IntegrityError, match="append-only"):
        database.execute(statement)
    database.close()


@pytest.mark.threat("FL-35", control="C-LOG")
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM entries WHERE seq = 1",
        "UPDATE entries SET line = CAST(replace(CAST(line AS TEXT), '2.3', '9.3') AS BLOB)",
        "UPDATE entries SET line = x'7b7d'",
    ],
)
def test_a_file_changed_behind_the_triggers_does_not_open(tmp_path: Path, statement: str) -> None:
    with opened(tmp_path) as store:
        reserve(store, 1)
        spend(store, 1)
    database = sqlite3.connect(tmp_path / "ledger.sqlite")
    database.execute("DROP TRIGGER no_delete")
    database.execute("DROP TRIGGER no_update")
    database.execute(statement)
    database.commit()
    database.close()
    with pytest.raises(LedgerBroken):
        opened(tmp_path)


def test_another_hospitals_file_does_not_open(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        reserve(store, 1)
    with pytest.raises(LedgerBroken, match="signed"):
        LedgerStore(tmp_path / "ledger.sqlite", SecretBytes(bytes(32)), StoppedClock())


def test_two_connections_write_one_chain(tmp_path: Path) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        reserve(first, 1)
        reserve(second, 2)
        spend(second, 1)
        assert [entry.seq for entry in first.entries()] == [1, 2, 3]
        with pytest.raises(LedgerBroken):
            spend(first, 1)


def _forged(ledger: Ledger, fault: str) -> Entry:
    """The next entry, an epoch that would free the budget, by somebody who can write the file but has no key."""
    record = Record("NOTE", "2026-01-31T12:00:00Z", GENESIS, "", "", 0, None, epoch_note("2027 extract"))
    other = SecretBytes(b"\x06" * 32)
    entry = ledger.append(record, lambda body: sign(SEED, ENTRY_LABEL, body)).entries[-1]
    match fault:
        case "another key":
            return ledger.append(record, lambda body: sign(other, ENTRY_LABEL, body)).entries[-1]
        case "another text":
            return replace(entry, record=replace(record, note=epoch_note("2028 extract")))
        case "another place":
            return Ledger().append(record, lambda body: sign(SEED, ENTRY_LABEL, body)).entries[-1]
    return entry


@pytest.mark.threat("FL-35", control="C-LOG")
@pytest.mark.parametrize("fault", ["another key", "another text", "another place", ""])
def test_what_another_process_writes_is_verified_as_it_is_read(tmp_path: Path, fault: str) -> None:
    with opened(tmp_path) as store:
        reserve(store, 1)
        entry = _forged(Ledger(store.entries()), fault)
        with sqlite3.connect(tmp_path / "ledger.sqlite") as other:
            other.execute("INSERT INTO entries (seq, line) VALUES (2, ?)", (entry.to_line(),))
        if not fault:
            assert epoch_name(store.entries()) == "2027 extract"
            spend(store, 1)
            return
        for use in (store.entries, store.export, lambda: spend(store, 1), lambda: reserve(store, 2)):
            with pytest.raises(LedgerBroken, match="ledger entry 2"):
                use()


def test_the_file_is_the_owners_and_durable(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        assert stat.S_IMODE((tmp_path / "ledger.sqlite").stat().st_mode) == 0o600
        assert store.durability() == ("wal", 2)


def test_a_reservation_alone_does_not_wait_for_the_disk_and_nothing_else_goes_without(tmp_path: Path) -> None:
    with opened(tmp_path) as store:
        store.reserve(
            study_hash=STUDY,
            study_id="demo",
            session=SESSION,
            round_number=1,
            release=TRAIN,
            durable=False,
        )
        assert store.durability() == ("wal", 1)
        spend(store, 1)
        assert store.durability() == ("wal", 2)
        reserve(store, 2)
        assert store.durability() == ("wal", 2)
        store.abort(study_hash=STUDY, study_id="demo", session=SESSION, round_number=2, reason="x")
        assert store.durability() == ("wal", 2)
        reserve(store, 3)
        store.note(study_hash=STUDY, study_id="demo", session=SESSION, text="x")
        assert store.durability() == ("wal", 2)


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_the_budget_is_asked_under_the_lock_that_the_charge_takes(tmp_path: Path) -> None:
    """Two processes with room for one round: the second sees what the first has charged a moment ago."""

    def room_for_one(entries: Sequence[Entry]) -> None:
        if charged(entries):
            raise PolicyRefusal("epsilon_total", "more", "one round", exit_code=4)

    with opened(tmp_path) as first, opened(tmp_path) as second:
        assert first.entries() == second.entries() == ()
        common: dict[str, Any] = {
            "study_hash": STUDY,
            "study_id": "demo",
            "release": TRAIN,
            "permit": room_for_one,
        }
        first.reserve(session=SESSION, round_number=1, **common)
        with pytest.raises(PolicyRefusal):
            second.reserve(session="02" * 16, round_number=1, **common)
        assert len(second.entries()) == 1
        # The restarted round has paid already.
        second.reserve(session=SESSION, round_number=1, **common)


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_a_note_of_mode_none_is_permitted_under_the_lock_that_writes_it(tmp_path: Path) -> None:
    """Two processes with room for one more round without noise, both of which looked before either wrote."""
    noted = {"study_hash": STUDY, "study_id": "demo", "session": SESSION, "text": "released without noise"}

    def one_round(entries: Sequence[Entry]) -> None:
        if any(entry.record.round for entry in entries):
            raise PolicyRefusal("aborted_rounds_maximum", "2 rounds", "at most 1")

    with opened(tmp_path) as first, opened(tmp_path) as second:
        assert first.entries() == second.entries() == ()
        first.note(round_number=1, permit=one_round, **noted)
        with pytest.raises(PolicyRefusal):
            second.note(round_number=2, permit=one_round, **noted)
        assert [entry.record.round for entry in second.entries()] == [1]

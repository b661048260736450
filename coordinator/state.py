"""What the coordinator keeps on disk: studies, sessions, rounds and their signed receipts.

Every row is committed (WAL, synchronous FULL) before what it says is announced, so that a restart finds at least what the hospitals were told.
A long receipt lies in a file of its own (`receipt_files`), on the disk before its row.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from coordinator.disk_faults import DiskFault, disk_faults
from coordinator.receipt_files import FILE_BYTES, ReceiptFiles
from secagg.wire import codec
from secagg.wire.records import Receipt

SCHEMA = """
CREATE TABLE IF NOT EXISTS studies (
    study_hash BLOB PRIMARY KEY, study_id TEXT NOT NULL, agreement BLOB NOT NULL, opened TEXT NOT NULL,
    status TEXT NOT NULL, reason TEXT NOT NULL DEFAULT '');
CREATE TABLE IF NOT EXISTS sessions (
    session_id BLOB PRIMARY KEY, study_hash BLOB NOT NULL REFERENCES studies, started TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS rounds (
    study_hash BLOB NOT NULL REFERENCES studies, round INTEGER NOT NULL, record BLOB NOT NULL,
    receipt BLOB, total BLOB, PRIMARY KEY (study_hash, round));
CREATE TABLE IF NOT EXISTS begun (
    study_hash BLOB NOT NULL REFERENCES studies, round INTEGER NOT NULL, PRIMARY KEY (study_hash, round));
CREATE TABLE IF NOT EXISTS culprits (
    study_hash BLOB NOT NULL REFERENCES studies, round INTEGER NOT NULL, hospital TEXT NOT NULL, reason TEXT NOT NULL,
    PRIMARY KEY (study_hash, round, hospital));
CREATE TABLE IF NOT EXISTS blamed (
    study_hash BLOB NOT NULL REFERENCES studies, round INTEGER NOT NULL, hospital TEXT NOT NULL, PRIMARY KEY (study_hash, round));
CREATE TRIGGER IF NOT EXISTS rounds_stay BEFORE UPDATE ON rounds BEGIN SELECT RAISE(ABORT, 'rounds are append-only'); END;
CREATE TRIGGER IF NOT EXISTS rounds_remain BEFORE DELETE ON rounds BEGIN SELECT RAISE(ABORT, 'rounds are append-only'); END;
"""


# In the ring of 64 bits the receipt holds the same bytes, and a long sum is not stored twice.
IN_THE_RECEIPT = b""
FILES_SUFFIX = ".receipts"
# What a disk fault is said of.
STATE = "the state of a study"


@dataclass(frozen=True, slots=True)
class StoredRound:
    """One finished or aborted round.

    `record` is canonical JSON (a line of the bundle's rounds.jsonl), `receipt` the signed bytes that the hospitals got, `total` the decoded
    ring integers as little-endian int64; both None for an aborted round. `culprit` is whom an aborted one was blamed on, if anybody.
    """

    round: int
    record: bytes
    receipt: bytes | None
    total: bytes | None
    culprit: str = ""


class CoordinatorState:
    """SQLite store of one coordinator; one process at a time. What the disk refuses to take is raised as DiskFault."""

    def __init__(self, path: Path, file_bytes: int = FILE_BYTES) -> None:
        """Open or create the store; receipts of so many bytes or more lie in files beside it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.file_bytes = file_bytes
        self._folder = path.parent
        self._files = ReceiptFiles(path.with_suffix(FILES_SUFFIX), file_bytes)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA foreign_keys = ON")
        self._db.executescript(SCHEMA)

    def open_study(self, study_hash: bytes, study_id: str, agreement: bytes, opened: str) -> None:
        self._write(
            "INSERT OR IGNORE INTO studies (study_hash, study_id, agreement, opened, status) VALUES (?, ?, ?, ?, 'open')",
            (study_hash, study_id, agreement, opened),
        )

    def stored_study(self, study_id: str) -> tuple[bytes, str] | None:
        """The agreement's bytes and the status of a study that was opened before; None for a new one."""
        row = self._db.execute(
            "SELECT agreement, status FROM studies WHERE study_id = ? ORDER BY opened DESC LIMIT 1",
            (study_id,),
        ).fetchone()
        return None if row is None else (bytes(row[0]), str(row[1]))

    def close_study(self, study_hash: bytes, status: str, reason: str) -> None:
        self._write(
            "UPDATE studies SET status = ?, reason = ? WHERE study_hash = ?", (status, reason, study_hash)
        )

    def studies(self) -> list[tuple[str, str, str, str]]:
        """(study id, opened, status, reason) in the order of opening."""
        rows = self._db.execute(
            "SELECT study_id, opened, status, reason FROM studies ORDER BY opened"
        ).fetchall()
        return [(str(a), str(b), str(c), str(d)) for a, b, c, d in rows]

    def add_session(self, session_id: bytes, study_hash: bytes, started: str) -> None:
        self._write("INSERT INTO sessions VALUES (?, ?, ?)", (session_id, study_hash, started))

    def begin_round(self, study_hash: bytes, round_number: int) -> None:
        """Written before the order leaves: a restarted coordinator never orders the same round again."""
        self._write("INSERT OR IGNORE INTO begun VALUES (?, ?)", (study_hash, round_number))

    def take_back(self, study_hash: bytes, round_number: int) -> None:
        """The order of this round did not leave, and does not before `begin_round` is called for it again."""
        self._write("DELETE FROM begun WHERE study_hash = ? AND round = ?", (study_hash, round_number))

    def begun(self, study_hash: bytes) -> tuple[int, ...]:
        """Rounds whose order may have left, in order."""
        rows = self._db.execute("SELECT round FROM begun WHERE study_hash = ? ORDER BY round", (study_hash,))
        return tuple(int(row[0]) for row in rows)

    def add_round(self, study_hash: bytes, stored: StoredRound, *, begins_next: bool = False) -> None:
        """Stores a round once and for all; when it returns, all of it is on the disk.

        Args:
            begins_next: the order of the round behind it may leave then; `begin_round` says the same and waits for the disk once more.

        Raises:
            DiskFault, sqlite3.Error: nothing was stored.
        """
        total, receipt = stored.total, stored.receipt
        if receipt is not None and total and receipt.endswith(total) and len(_sum_of(receipt)) == len(total):
            total = IN_THE_RECEIPT
        with disk_faults(STATE, self._folder):
            self._db.execute("BEGIN IMMEDIATE")
            try:
                # The row first: where the round has one already, its file must not be written over.
                self._db.execute(
                    "INSERT INTO rounds VALUES (?, ?, ?, ?, ?)",
                    (study_hash, stored.round, stored.record, self._files.short(receipt), total),
                )
                self._files.keep(study_hash, stored.round, receipt)
                if stored.culprit:
                    self._db.execute(
                        "INSERT INTO blamed VALUES (?, ?, ?)", (study_hash, stored.round, stored.culprit)
                    )
                if begins_next:
                    self.begin_round(study_hash, stored.round + 1)
                self._db.execute("COMMIT")
            except (sqlite3.Error, OSError, DiskFault):
                # SQLite ends it itself where its disk is full.
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def add_culprits(self, study_hash: bytes, round_number: int, reasons: Mapping[str, str]) -> None:
        """Who is shown to have made a round fail, with the reason; also a restarted coordinator leaves it out of the next."""
        for hospital, reason in reasons.items():
            self._write(
                "INSERT OR IGNORE INTO culprits VALUES (?, ?, ?, ?)",
                (study_hash, round_number, hospital, reason),
            )

    def culprits(self, study_hash: bytes, round_number: int) -> dict[str, str]:
        """Hospital to reason, of one round."""
        rows = self._db.execute(
            "SELECT hospital, reason FROM culprits WHERE study_hash = ? AND round = ? ORDER BY hospital",
            (study_hash, round_number),
        )
        return {str(hospital): str(reason) for hospital, reason in rows}

    def rounds(self, study_hash: bytes) -> Iterator[StoredRound]:
        """All rounds of a study in order, each read when it is asked for: their receipts together may be longer than the memory.

        Raises:
            ReceiptLost: a receipt's file is missing or damaged.
        """
        numbers = self._db.execute(
            "SELECT round FROM rounds WHERE study_hash = ? ORDER BY round", (study_hash,)
        ).fetchall()
        return (self.round(study_hash, int(number)) for (number,) in numbers)

    def round(self, study_hash: bytes, number: int) -> StoredRound:
        """One round that is stored.

        Raises:
            ReceiptLost: its receipt's file is missing or damaged.
        """
        row = self._db.execute(
            "SELECT round, record, receipt, total, coalesce(hospital, '') FROM rounds LEFT JOIN blamed USING (study_hash, round) "
            "WHERE study_hash = ? AND round = ?",
            (study_hash, number),
        ).fetchone()
        return self._stored(study_hash, *row)

    def _stored(
        self,
        study_hash: bytes,
        number: int,
        record: bytes,
        short: bytes | None,
        total: bytes | None,
        culprit: str,
    ) -> StoredRound:
        receipt = None if short is None else self._files.whole(study_hash, number, short)
        if total == IN_THE_RECEIPT and receipt is not None:
            total = bytes(_sum_of(receipt))
        return StoredRound(number, record, receipt, total, culprit)

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        with disk_faults(STATE, self._folder):
            self._db.execute(statement, values)

    def close(self) -> None:
        self._db.close()


def _sum_of(receipt: bytes) -> bytes:
    """The ring elements of a receipt, a view of its bytes."""
    return codec.unpack_views("receipt", Receipt, receipt).sum

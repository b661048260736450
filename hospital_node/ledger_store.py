"""The ledger on disk: SQLite that forgets nothing and survives kill -9.

Write-ahead log with synchronous FULL: when a method returns, its entry is on the disk. The reservation of a round alone does not wait
for it: SPENT takes it along, and so does `settle` before anything else leaves. A killed process finds it again. Triggers refuse changes and
deletions, opening verifies the whole chain, and what another process adds is verified as it is read, so that an edited file is
noticed before anything is spent.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Lock
from typing import Literal, Self

from hospital_node.clock import Clock, iso_time
from privacy.guarantees.plan import Charge
from privacy.ledgers.charges import is_closed
from privacy.ledgers.ledger import ENTRY_LABEL, Entry, EntryKind, Key, Ledger, LedgerBroken, Record
from privacy.ledgers.ledger_export import SEAL_LABEL, export
from privacy.ledgers.told_noise import Runs
from secagg.identity import public_key, sign
from secagg.secret import SecretBytes

_SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY, line BLOB NOT NULL) STRICT;
CREATE TRIGGER IF NOT EXISTS no_update BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER IF NOT EXISTS no_delete BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""
# Of the log, in pages, before it is written over from its start: a sync of a file that grows takes half as long again.
LOG_PAGES = 64


def _anything(_: Sequence[Entry]) -> None:
    """Nobody asks."""


class LedgerStore:
    """One hospital's ledger file.

    Two processes may open it; writes take SQLite's lock and look at what the other wrote first.
    """

    def __init__(self, path: Path, identity: SecretBytes, clock: Clock) -> None:
        """Open or create `path` (mode 0600) and verify the chain in it.

        Args:
            path: the file; its folder exists.
            identity: 32-byte Ed25519 seed of the hospital.
            clock: time for the entries.

        Raises:
            LedgerBroken: the file's chain does not verify under this identity.
            OSError, sqlite3.DatabaseError: the file cannot be opened or is no database.
        """
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        self._identity = identity
        self._public_key = public_key(identity)
        self._clock = clock
        self._lock = Lock()
        self._ledger = self._grown = Ledger()
        # Whether a loss of power may take an entry back; a killed process may have left one.
        self._unsynced = True
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        try:
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            self._database.execute("PRAGMA synchronous = FULL")
            self._database.executescript(_SCHEMA)
            self._read()
        except BaseException:
            self._database.close()
            raise

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()

    def close(self) -> None:
        """Close the file; the store cannot be used afterwards."""
        with self._lock:
            self._database.close()

    def reserve(
        self,
        *,
        study_hash: str,
        study_id: str,
        session: str,
        round_number: int,
        release: Charge,
        permit: Callable[[Sequence[Entry]], object] = _anything,
        durable: bool = True,
    ) -> Entry:
        """Charge a round, before anything about it is computed.

        A round reserved before with the same release and not yet spent gives the entry it has: nothing left the
        hospital since, and the restarted round draws fresh noise. `permit` sees all entries under the file's write lock, so that two
        processes cannot both find room for the last of a budget; what it raises charges nothing.

        Raises:
            LedgerBroken: the round was spent or aborted, or reserved for another release.
        """
        with self._writing("FULL" if durable else "NORMAL"):
            open_entry = self._open_reservation((study_hash, session, round_number))
            if open_entry is not None and open_entry.record.release == release:
                return open_entry
            if (study_hash, session, round_number) not in self._ledger.rounds:
                permit(self._ledger.entries)
            return self._append("RESERVE", study_hash, study_id, session, round_number, release, "")

    def spend(self, *, study_hash: str, session: str, round_number: int) -> Entry:
        """Mark a reserved round as about to leave, before its first byte is sent.

        Raises:
            LedgerBroken: the round has no open reservation.
        """
        with self._writing():
            reserved = self._open_reservation((study_hash, session, round_number))
            if reserved is None:
                raise LedgerBroken(
                    len(self._ledger.entries) + 1,
                    f"round {round_number} is spent without an open reservation",
                )
            record = reserved.record
            return self._append(
                "SPENT", study_hash, record.study_id, session, round_number, record.release, ""
            )

    def abort(self, *, study_hash: str, study_id: str, session: str, round_number: int, reason: str) -> Entry:
        """Record that a reserved round came to nothing; it stays charged.

        Raises:
            LedgerBroken: the round was never reserved, or aborted before.
        """
        with self._writing():
            return self._append("ABORT", study_hash, study_id, session, round_number, None, reason)

    def note(
        self,
        *,
        study_hash: str,
        study_id: str,
        session: str,
        round_number: int = 0,
        text: str,
        permit: Callable[[Sequence[Entry]], None] = _anything,
    ) -> Entry:
        """Keep a sentence that charges nothing and is about no patient.

        `permit` sees all entries under the file's write lock; what it raises writes nothing. A round is noted once, as it is reserved once: an
        order that comes again gives the entry that is there.
        """
        with self._writing():
            if round_number and (noted := self._noted((study_hash, session, round_number))) is not None:
                return noted
            permit(self._ledger.entries)
            return self._append("NOTE", study_hash, study_id, session, round_number, None, text)

    def close_study(self, *, study_hash: str, study_id: str) -> None:
        """End a study for good: whatever would be released of it later is refused. A second time changes nothing."""
        with self._writing():
            if not is_closed(self._ledger.entries, study_hash):
                note = "closed: nothing more of this study is released"
                self._append("CLOSE", study_hash, study_id, "", 0, None, note)

    def settle(self) -> None:
        """Until every entry is on the disk: a refusal leaves too, and of a round that was charged and not spent."""
        with self._lock:
            if self._unsynced:
                self._database.execute("PRAGMA synchronous = FULL")
                # Writes a page that says the same: a transaction that writes nothing waits for no disk.
                self._database.execute("PRAGMA user_version = 0")
                self._unsynced = False

    def entries(self) -> tuple[Entry, ...]:
        """The whole chain as it is on disk now."""
        with self._lock:
            self._read()
            return self._ledger.entries

    def durability(self) -> tuple[str, int]:
        """Journal mode and synchronous level in force; ("wal", 2) is write-ahead with FULL."""
        with self._lock:
            (mode,) = self._database.execute("PRAGMA journal_mode").fetchone()
            (level,) = self._database.execute("PRAGMA synchronous").fetchone()
        return str(mode), int(level)

    def export(self, study_hash: str = "", told: Runs | None = None) -> bytes:
        """The chain as signed JSON lines, what evidence takes; final for a study that was closed before.

        `told`: rounds in which this hospital told its spare noise, which the seal states.
        """
        return export(
            self.entries(),
            iso_time(self._clock.now()),
            lambda body: sign(self._identity, SEAL_LABEL, body),
            study_hash=study_hash,
            told=told,
        )

    def _append(
        self,
        kind: EntryKind,
        study_hash: str,
        study_id: str,
        session: str,
        round_number: int,
        release: Charge | None,
        note: str,
    ) -> Entry:
        record = Record(
            kind, iso_time(self._clock.now()), study_hash, study_id, session, round_number, release, note
        )
        signed = b""

        def sign_entry(body: bytes) -> bytes:
            nonlocal signed
            signed = body
            return sign(self._identity, ENTRY_LABEL, body)

        grown = self._ledger.append(record, sign_entry)
        entry, self._grown = grown.entries[-1], grown
        line = entry.line_around(signed)
        self._database.execute("INSERT INTO entries (seq, line) VALUES (?, ?)", (entry.seq, line))
        return entry

    def _noted(self, key: Key) -> Entry | None:
        """The note of a round."""
        return next((e for e in self._ledger.entries if e.kind == "NOTE" and e.record.key == key), None)

    def _open_reservation(self, key: Key) -> Entry | None:
        """The reservation of a round that was neither spent nor aborted."""
        state = self._ledger.rounds.get(key)
        if state is None or state.kind != "RESERVE":
            return None
        return next(e for e in reversed(self._ledger.entries) if e.record.key == key and e.kind == "RESERVE")

    def _read(self) -> None:
        """Take in what is on disk beyond what is known: another process may have written it, so it is verified like the rest.

        Raises:
            LedgerBroken: a line that is no entry, or does not follow from those before it under this hospital's key.
        """
        known = len(self._ledger.entries)
        rows = self._database.execute("SELECT line FROM entries WHERE seq > ? ORDER BY seq", (known,))
        fresh = []
        for position, (line,) in enumerate(rows, start=known + 1):
            try:
                fresh.append(Entry.from_line(line))
            except ValueError as error:
                raise LedgerBroken(position, str(error)) from None
        if fresh:
            self._ledger = self._ledger.followed_by(fresh, self._public_key)

    @contextmanager
    def _writing(self, synchronous: Literal["FULL", "NORMAL"] = "FULL") -> Iterator[None]:
        """One transaction under the file's write lock; committed before it ends, so that with FULL the entry is on the disk."""
        with self._lock:
            self._database.execute(f"PRAGMA synchronous = {synchronous}")
            self._database.execute("BEGIN IMMEDIATE")
            try:
                self._read()
                self._grown = self._ledger
                yield
                self._database.execute("COMMIT")
            except BaseException:
                self._database.execute("ROLLBACK")
                raise
            if self._grown is not self._ledger:
                self._unsynced = synchronous != "FULL"
            self._ledger = self._grown

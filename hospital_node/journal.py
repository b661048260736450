"""The hospital's journal of the aggregation protocol: what was decided and what was answered, on disk before it is sent.

One transaction holds the new state and the exact bytes of every reply. After a crash the same request gets the same bytes or nothing; a
reply is never computed twice. A long reply, which is a vector, lies in a file of its own (`upload_files`) that the transaction names, until
the round is over. A state of which nothing leaves waits for no disk: the next one that answers takes it along, and a loss of power
before that is as if its message had never come. The file holds session secrets: it lives on a volume that is never backed up, with mode 0600. Should it be
restored from a copy all the same, it does not end where the anchor says: the copy's sessions are dropped, since it forgot what was agreed.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hospital_node.anchor import COUNT_GRAPHS, Anchor, AnchorLost
from hospital_node.home import ANCHOR_SUFFIX
from hospital_node.process_lock import LOCK_SUFFIX, LockTaken, ProcessLock
from hospital_node.upload_files import UploadFiles
from privacy.ledgers.told_noise import Runs, merged
from secagg.long_hash import fingerprint

SCHEMA = """
CREATE TABLE IF NOT EXISTS protocol (study_hash BLOB PRIMARY KEY, round INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS replies (
    study_hash BLOB NOT NULL, request BLOB NOT NULL, position INTEGER NOT NULL, round INTEGER NOT NULL, reply BLOB NOT NULL,
    PRIMARY KEY (study_hash, request, position));
CREATE TABLE IF NOT EXISTS files (
    study_hash BLOB NOT NULL, request BLOB NOT NULL, position INTEGER NOT NULL, round INTEGER NOT NULL,
    name TEXT NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (study_hash, request, position));
CREATE TABLE IF NOT EXISTS graphs (study BLOB PRIMARY KEY, graphs INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS told (study_hash BLOB NOT NULL, first INTEGER NOT NULL, last INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS ends (one INTEGER PRIMARY KEY CHECK (one = 1), hash BLOB NOT NULL, previous BLOB NOT NULL);
INSERT OR IGNORE INTO ends VALUES (1, x'', x'');
"""
FILES_SUFFIX = ".uploads"
# From here on a reply costs less in a file than in the database.
FILE_BYTES = 1 << 20
# Of the log, in pages, before it is written over from its start: a sync of a file that grows takes half as long again.
LOG_PAGES = 400


class JournalTaken(Exception):
    """Another process of this hospital has the journal open, or wrote it since this one did; two of them could each open a set of their own."""

    exit_code = 3

    def __init__(self) -> None:
        super().__init__(
            "another process of this hospital goes on with its journal, so this one sends nothing more; run only one"
        )


def graph_key(study_id: str) -> bytes:
    """What a study's graphs are counted under: its name, since agreements of one study file may differ in their noise."""
    return hashlib.sha256(b"graphs of study " + study_id.encode()).digest()


@dataclass(frozen=True, slots=True)
class _Kept:
    """A row of `files`."""

    study_hash: bytes
    request: bytes
    position: int
    round: int
    name: str
    length: int


class Journal:
    """SQLite journal of one hospital; one process at a time: the second one cannot open it, nor delete what the first is about to name.

    Should somebody have deleted the lock's file, the second to write raises JournalTaken.

    Attributes:
        restored: the file was an older copy when it was opened; its sessions are gone and new ones are needed.
    """

    def __init__(self, path: Path, anchor: Path | None = None, file_bytes: int = FILE_BYTES) -> None:
        """Open or create the journal.

        Args:
            path: the file, made with its folder.
            anchor: file of the last hash, best on another volume; beside the journal if not given.
            file_bytes: replies of so many bytes or more lie in files.

        Raises:
            JournalTaken: another process has it open.
            NoLocks: the file system cannot tell.
            AnchorLost: the anchor cannot be opened or written.
        """
        # Set where the anchor may not know what the journal does: then nothing is answered from it any more.
        self._lost: AnchorLost | None = None
        self._file_bytes = file_bytes
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._lock = ProcessLock(path.with_suffix(LOCK_SUFFIX))
        except LockTaken:
            raise JournalTaken from None
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        self._synchronous = ""
        self._wait_for_disk(True)
        self._db.execute("PRAGMA secure_delete = ON")
        self._db.executescript(SCHEMA)
        self._request, self._request_digest = b"", fingerprint(b"")
        self._anchor = Anchor(anchor or path.with_suffix(ANCHOR_SUFFIX))
        # A killed process may have left commits that wait for the disk; the anchor must not be told of what a loss of power takes back.
        self._db.execute("PRAGMA wal_checkpoint(FULL)")
        # Under the write lock: another process must not answer between what is read here and what the anchor is told.
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self.restored = not self._anchor.knows(*self._ends())
            if self.restored:
                self._forget()
            rounds = self._db.execute("SELECT study_hash, round FROM protocol").fetchall()
            graphs = self._db.execute("SELECT study, graphs FROM graphs").fetchall()
            # Where this process knows the journal to end; whoever else writes makes it another.
            self._head = self._ends()[0]
            self._anchor.keep(self._head, rounds, graphs)
            self._db.execute("COMMIT")
        except BaseException:
            self._db.close()
            raise
        self._uploads = path.with_suffix(FILES_SUFFIX)
        self._files = UploadFiles(self._uploads)
        self._kept = [_Kept(*row) for row in self._db.execute("SELECT * FROM files")]
        # (study, request) -> round of every answer. What is not here was never answered: had another process answered it since, the commit of
        # an answer to it would raise JournalTaken.
        answers = self._db.execute(
            "SELECT study_hash, request, round FROM replies UNION SELECT study_hash, request, round FROM files"
        )
        self._answered = {(bytes(study), bytes(request)): int(number) for study, request, number in answers}
        self._files.drop_all_but({kept.name for kept in self._kept})

    def _ends(self) -> tuple[bytes, bytes]:
        """The hash over everything that was ever committed, and the one that the anchor knew before the last commit."""
        head, previous = self._db.execute("SELECT hash, previous FROM ends").fetchone()
        return bytes(head), bytes(previous)

    def _forget(self) -> None:
        """Drop every session of a journal that does not know what it agreed to; graphs are counted as the anchor knows them.

        It ends in a new hash, so that the same copy is noticed when it comes back a second time.
        """
        head = hashlib.sha256(b"restored" + self._ends()[0] + self._anchor.last).digest()
        self._db.execute("DELETE FROM protocol")
        self._db.execute("DELETE FROM replies")
        self._db.execute("DELETE FROM files")
        self._db.executemany(COUNT_GRAPHS, self._anchor.all_graphs())
        self._db.execute("UPDATE ends SET hash = ?, previous = ?", (head, head))

    @property
    def uploads(self) -> Path:
        """The folder of the long replies."""
        return self._uploads

    def floor(self, study_hash: bytes) -> int:
        """The highest round of a study that this hospital ever started, also where the journal forgot it."""
        return self._anchor.floor(study_hash)

    def graphs(self, study_id: str) -> int:
        """How many sparse graphs of a study this hospital has revealed a contribution for, also where the journal forgot some."""
        study = graph_key(study_id)
        row = self._db.execute("SELECT graphs FROM graphs WHERE study = ?", (study,)).fetchone()
        return max(self._anchor.graphs(study), 0 if row is None else int(row[0]))

    def told(self, study_hash: bytes) -> Runs:
        """Rounds of a study in which spare noise was told, or may have been: written down with the state that let it leave."""
        rows = self._db.execute("SELECT first, last FROM told WHERE study_hash = ?", (study_hash,))
        return merged((int(first), int(last)) for first, last in rows)

    def state(self, study_hash: bytes) -> bytes | None:
        """The last journaled state of the study's protocol, encoded; None before its first session."""
        row = self._db.execute("SELECT state FROM protocol WHERE study_hash = ?", (study_hash,)).fetchone()
        return None if row is None else bytes(row[0])

    def replies(self, study_hash: bytes, request: bytes) -> tuple[bytes, ...] | None:
        """The replies already given to this request; None if it was never answered.

        Raises:
            AnchorLost: the anchor could not be written before.
            UploadLost: a file of the answer is missing or not whole.
        """
        self._require_anchor()
        key = (study_hash, self._digest(request))
        if key not in self._answered:
            return None
        found = dict(
            self._db.execute(
                "SELECT position, reply FROM replies WHERE study_hash = ? AND request = ?", key
            ).fetchall()
        )
        for kept in self._kept:
            if (kept.study_hash, kept.request) == key:
                found[kept.position] = self._files.read(kept.name, kept.length)
        return tuple(bytes(found[position]) for position in sorted(found)) or None

    def keeps_files(self, study_hash: bytes) -> bool:
        """Whether a long reply of this study lies in a file."""
        return any(kept.study_hash == study_hash for kept in self._kept)

    def commit(
        self,
        study_hash: bytes,
        round_number: int,
        state: bytes,
        request: bytes,
        replies: Iterable[bytes],
        *,
        ends_round: bool = False,
        graphs: tuple[str, int] | None = None,
        told: tuple[int, int] | None = None,
    ) -> None:
        """Writes the new state and the replies in one transaction; replies of older rounds are forgotten with their secrets.

        When it returns, the replies may be sent; `graphs`, the id of the study and its graphs so far, are counted then. Without either
        nothing leaves, so that neither the disk nor the anchor is waited for: also a killed process finds the state again.

        Args:
            ends_round: nobody asks for this round's vector any more: whatever answered with a file is forgotten too.
            told: first and last of the rounds whose spare noise may leave from here on, or may have left before.

        Raises:
            OSError, sqlite3.Error: nothing was written; what was kept before stands.
            JournalTaken: another process wrote since; nothing of this was stored, and nothing may be sent.
            AnchorLost: the anchor cannot be written, now or before; this journal answers nothing any more.
        """
        self._require_anchor()
        counted = [] if graphs is None else [(graph_key(graphs[0]), graphs[1])]
        digest = self._digest(request)
        head = hashlib.sha256(self._head + hashlib.sha256(state).digest() + digest).digest()
        rows, long = [], list[tuple[_Kept, bytes]]()
        for position, reply in enumerate(replies):
            if len(reply) < self._file_bytes:
                rows.append((study_hash, digest, position, round_number, reply))
                continue
            name = f"{study_hash.hex()[:16]}-{round_number}-{digest.hex()}-{position}"
            long.append((_Kept(study_hash, digest, position, round_number, name, len(reply)), reply))
        over = [
            kept
            for kept in self._kept
            if kept.study_hash == study_hash and kept.round < round_number + int(ends_round)
        ]
        leaves = bool(rows or long or counted)
        if leaves:
            self._files.settle()
        former = {
            key
            for key, answered in self._answered.items()
            if key[0] == study_hash and answered < round_number
        }
        self._wait_for_disk(leaves)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            # The anchor is asked under the write lock: another process that was opened meanwhile told it too.
            ends = self._db.execute(
                "UPDATE ends SET hash = ?, previous = ? WHERE hash = ?", (head, self._anchor.last, self._head)
            )
            # So is the end, so that of two processes one sees what the other wrote.
            if ends.rowcount != 1:
                raise JournalTaken
            self._db.execute(
                "INSERT INTO protocol VALUES (?, ?, ?) ON CONFLICT (study_hash) DO UPDATE "
                "SET round = excluded.round, state = excluded.state",
                (study_hash, round_number, state),
            )
            if former:
                self._db.execute(
                    "DELETE FROM replies WHERE study_hash = ? AND round < ?", (study_hash, round_number)
                )
            self._forget_answers(over)
            self._db.executemany("INSERT INTO replies VALUES (?, ?, ?, ?, ?)", rows)
            for kept, _ in long:
                # The row first: where the request has one already, its file must not be written over.
                self._db.execute(
                    "INSERT INTO files VALUES (?, ?, ?, ?, ?, ?)",
                    (study_hash, digest, kept.position, round_number, kept.name, kept.length),
                )
            if long:
                self._files.keep({kept.name: reply for kept, reply in long})
            if counted:
                self._db.executemany(COUNT_GRAPHS, counted)
            if told is not None:
                self._db.execute("INSERT INTO told VALUES (?, ?, ?)", (study_hash, *told))
            self._db.execute("COMMIT")
        except (sqlite3.Error, OSError, JournalTaken):
            # Also where the commit itself fails: this connection would read back, and answer from, what is on no disk.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._head = head
        self._kept = [kept for kept in self._kept if kept not in over] + [kept for kept, _ in long]
        for key in former:
            del self._answered[key]
        if rows or long:
            self._answered[study_hash, digest] = round_number
        if leaves:
            try:
                self._anchor.keep(head, [(study_hash, round_number)], counted)
            except AnchorLost as lost:
                self._lost = lost
                raise
        self._files.release([kept.name for kept in over])

    def drop_uploads(self, study_hash: bytes) -> None:
        """The study is over: no vector of it is asked for again."""
        over = [kept for kept in self._kept if kept.study_hash == study_hash]
        if not over:
            return
        self._wait_for_disk(True)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._forget_answers(over)
            self._db.execute("COMMIT")
        except sqlite3.Error:
            # An open transaction would refuse every later commit, of other studies too.
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        self._kept = [kept for kept in self._kept if kept not in over]
        self._files.drop([kept.name for kept in over])

    def _forget_answers(self, over: Iterable[_Kept]) -> None:
        """Whole answers, not their long parts alone."""
        for kept in over:
            for table in ("files", "replies"):
                self._db.execute(
                    f"DELETE FROM {table} WHERE study_hash = ? AND request = ?",  # noqa: S608 - one of two names
                    (kept.study_hash, kept.request),
                )

    def _wait_for_disk(self, waits: bool) -> None:
        """Whether commits from here on return only when they are on the disk; said to SQLite where it changes."""
        level = "FULL" if waits else "NORMAL"
        if level != self._synchronous:
            self._db.execute(f"PRAGMA synchronous = {level}")
            self._synchronous = level

    def _require_anchor(self) -> None:
        if self._lost is not None:
            raise self._lost

    def _digest(self, request: bytes) -> bytes:
        """Of the request under way once: it may be as long as a model."""
        if request is not self._request:
            self._request, self._request_digest = request, fingerprint(request)
        return self._request_digest

    def close(self) -> None:
        self._files.close()
        self._db.close()
        self._anchor.close()
        self._lock.release()

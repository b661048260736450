"""Where the journal's last hash is kept, apart from it: how a hospital notices that its journal is an older copy.

Commit the journal, keep its new hash here, and only then send. So whatever was sent of is in a journal that ends in the hash
kept here, or in the one after it: a process that died between the two leaves a journal one step ahead, of which nothing was sent.
Any other journal was restored from a copy. The file belongs on a volume that is never backed up.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS last (one INTEGER PRIMARY KEY CHECK (one = 1), hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS rounds (study_hash BLOB PRIMARY KEY, round INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS graphs (study BLOB PRIMARY KEY, graphs INTEGER NOT NULL);
INSERT OR IGNORE INTO last VALUES (1, x'');
"""
COUNT_GRAPHS = (
    "INSERT INTO graphs VALUES (?, ?) ON CONFLICT (study) DO UPDATE SET graphs = max(graphs, excluded.graphs)"
)


class Anchor:
    """The last hash of one journal; of each study the highest round, and the sparse graphs that it took part in drawing."""

    def __init__(self, path: Path) -> None:
        """Open or create `path` with mode 0600; its folder exists."""
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    @property
    def last(self) -> bytes:
        """The hash that was kept last; empty before the first."""
        return bytes(self._db.execute("SELECT hash FROM last").fetchone()[0])

    def knows(self, head: bytes, previous: bytes) -> bool:
        """Whether a journal that ends in these two hashes is the one that was last written."""
        return self.last in (head, previous)

    def keep(
        self, head: bytes, rounds: Iterable[tuple[bytes, int]], graphs: Sequence[tuple[bytes, int]] = ()
    ) -> None:
        """The journal ends in this hash, with these studies at these rounds and graphs; no count ever falls."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("UPDATE last SET hash = ?", (head,))
        self._db.executemany(
            "INSERT INTO rounds VALUES (?, ?) ON CONFLICT (study_hash) DO UPDATE "
            "SET round = max(round, excluded.round)",
            rounds,
        )
        if graphs:
            self._db.executemany(COUNT_GRAPHS, graphs)
        self._db.execute("COMMIT")

    def floor(self, study_hash: bytes) -> int:
        """The highest round of a study of which anything may have been sent; 0 before the first."""
        row = self._db.execute("SELECT round FROM rounds WHERE study_hash = ?", (study_hash,)).fetchone()
        return 0 if row is None else int(row[0])

    def graphs(self, study: bytes) -> int:
        """How many sparse graphs of a study this hospital may have revealed a contribution for."""
        row = self._db.execute("SELECT graphs FROM graphs WHERE study = ?", (study,)).fetchone()
        return 0 if row is None else int(row[0])

    def all_graphs(self) -> list[tuple[bytes, int]]:
        """The count of each study that has one."""
        return [(bytes(row[0]), int(row[1])) for row in self._db.execute("SELECT * FROM graphs").fetchall()]

    def close(self) -> None:
        self._db.close()

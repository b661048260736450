"""Where the journal's last hash is kept, apart from it: how a hospital notices that its journal is an older copy.

Write the hash that comes next, commit the journal, confirm the hash, and only then send. A journal whose hash is neither
the confirmed nor the announced one was restored from a copy; one that stands at the confirmed one while another is
announced lost a step of which nothing was sent. The file belongs on a volume that is never backed up.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

_SCHEMA = """
CREATE TABLE IF NOT EXISTS head (one INTEGER PRIMARY KEY CHECK (one = 1), confirmed BLOB NOT NULL, announced BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS rounds (study_hash BLOB PRIMARY KEY, round INTEGER NOT NULL);
INSERT OR IGNORE INTO head VALUES (1, x'', x'');
"""


class Anchor:
    """The last hash of one journal, and the highest round of each study."""

    def __init__(self, path: Path) -> None:
        """Open or create `path` with mode 0600; its folder exists."""
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)

    def knows(self, head: bytes) -> bool:
        """Whether a journal that ends in this hash is the one that was last written."""
        return head in self._db.execute("SELECT confirmed, announced FROM head").fetchone()

    def announce(self, head: bytes, study_hash: bytes, round_number: int) -> None:
        """The journal is about to end in this hash, with a study at this round."""
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("UPDATE head SET announced = ?", (head,))
        self._db.execute(
            "INSERT INTO rounds VALUES (?, ?) ON CONFLICT (study_hash) DO UPDATE "
            "SET round = max(round, excluded.round)",
            (study_hash, round_number),
        )
        self._db.execute("COMMIT")

    def confirm(self, head: bytes) -> None:
        """The journal ends in this hash, and in no other."""
        self._db.execute("UPDATE head SET confirmed = ?, announced = ?", (head, head))

    def floor(self, study_hash: bytes) -> int:
        """The highest round of a study that was ever about to be stored; 0 before the first."""
        row = self._db.execute("SELECT round FROM rounds WHERE study_hash = ?", (study_hash,)).fetchone()
        return 0 if row is None else int(row[0])

    def close(self) -> None:
        self._db.close()

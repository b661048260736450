"""Where the journal's last hash is kept, apart from it: how a hospital notices that its journal is an older copy.

Commit the journal, keep its new hash here, and only then send. So whatever was sent of is in a journal that ends in the hash
kept here, or went on from it by steps of which nothing was sent: those that send nothing, and the one that a process died in, between
the two files. Such a journal names the hash kept here beside its own. Any other journal was restored from a copy. The file belongs on a volume that is never backed up, and on another than the journal's:
where both come back from one copy, nobody notices.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

_SCHEMA = """
CREATE TABLE IF NOT EXISTS last (one INTEGER PRIMARY KEY CHECK (one = 1), hash BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS rounds (study_hash BLOB PRIMARY KEY, round INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS graphs (study BLOB PRIMARY KEY, graphs INTEGER NOT NULL);
INSERT OR IGNORE INTO last VALUES (1, x'');
"""
# Of the log, in pages, before it is written over from its start: a sync of a file that grows takes half as long again.
LOG_PAGES = 64
_KEEP_HASH = "UPDATE last SET hash = ?"
COUNT_GRAPHS = (
    "INSERT INTO graphs VALUES (?, ?) ON CONFLICT (study) DO UPDATE SET graphs = max(graphs, excluded.graphs)"
)


ONE_VOLUME = (
    "the journal and its anchor lie on one volume, so that a copy of it that comes back is not noticed: "
    "name a file on another volume as journal_anchor in policy.toml"
)


class AnchorLost(Exception):
    """The anchor cannot be opened or written; the node stops, for what it sends could not be noticed as forgotten.

    Attributes:
        path: of the anchor.
        problem: what the disk said.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"{path}: the journal's anchor cannot be written ({problem}), so nothing more is sent; mount or free its volume and start again"
        )
        self.path = path
        self.problem = problem


def share_a_volume(one: Path, other: Path) -> bool:
    """Whether two files, of which at least the folders exist, lie on one volume."""
    return one.parent.stat().st_dev == other.parent.stat().st_dev


class Anchor:
    """The last hash of one journal; of each study the highest round, and the sparse graphs that it took part in drawing."""

    def __init__(self, path: Path) -> None:
        """Open or create `path` with mode 0600.

        Raises:
            AnchorLost: its folder does not exist, or the file cannot be opened.
        """
        self._path = path
        # Of each study the round that this process told it; nobody makes it fall.
        self._told: dict[bytes, int] = {}
        try:
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.executescript(_SCHEMA)
        except (OSError, sqlite3.Error) as error:
            raise AnchorLost(path, str(error)) from None

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
        """The journal ends in this hash, with these studies at these rounds and graphs; no count ever falls.

        Raises:
            AnchorLost: it cannot be written; the journal is one step ahead, and nothing of that step may be sent.
        """
        higher = [(study, number) for study, number in rounds if number > self._told.get(study, 0)]
        try:
            if not higher and not graphs:
                self._db.execute(_KEEP_HASH, (head,))
                return
            self._db.execute("BEGIN IMMEDIATE")
            self._db.execute(_KEEP_HASH, (head,))
            self._db.executemany(
                "INSERT INTO rounds VALUES (?, ?) ON CONFLICT (study_hash) DO UPDATE "
                "SET round = excluded.round WHERE excluded.round > round",
                higher,
            )
            if graphs:
                self._db.executemany(COUNT_GRAPHS, graphs)
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise AnchorLost(self._path, str(error)) from None
        self._told.update(higher)

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

"""Named records of one study on disk, written behind the round's back: short ones as rows of a database, long ones as files of their own.

One thread writes them in the order in which they came. A row costs one write and no change of the folder, which matters where every round
waits for the disk; a long record would be written twice by a database.
"""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from privacy.link.direct_file import DirectFiles

DATABASE = "records.db"
LONG_BYTES = 1 << 20
DRAFT = ".draft"


class SumStore:
    """The records of one folder, made with mode 0700; one process at a time. Names begin with a number."""

    def __init__(self, folder: Path, long_bytes: int = LONG_BYTES) -> None:
        """Open or create the folder; records of so many bytes or more become files."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._long_bytes = long_bytes
        self._database = sqlite3.connect(folder / DATABASE, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(
            "CREATE TABLE IF NOT EXISTS records (name TEXT PRIMARY KEY, data BLOB NOT NULL)"
        )
        self._writer = ThreadPoolExecutor(1, "sums")
        self._files = DirectFiles()
        self._waiting: list[Future[None]] = []
        # Whether a row was written that a loss of power may still take back.
        self._unsynced = False

    def names(self) -> list[str]:
        """Of all records that were written."""
        self.wait()
        rows = self._database.execute("SELECT name FROM records").fetchall()
        files = [path for path in self._folder.glob("[0-9]*") if path.suffix != DRAFT]
        return [str(name) for (name,) in rows] + [path.name for path in files]

    def get(self, name: str) -> bytes | None:
        """A record, None for an unknown one.

        Raises:
            OSError, sqlite3.Error: what was put before could not be written.
        """
        self.wait()
        row = self._database.execute("SELECT data FROM records WHERE name = ?", (name,)).fetchone()
        if row is not None:
            return bytes(row[0])
        path = self._folder / name
        return path.read_bytes() if path.is_file() else None

    def put(self, name: str, *parts: bytes, durable: bool = True) -> None:
        """Write a record, all of it or nothing, while the caller goes on; `wait` says that it is done.

        Args:
            name: of the record; the last one of a name stays.
            parts: its bytes.
            durable: on the disk when `wait` returns, with all that was put before. Otherwise a loss of power may still take it back.
        """
        self._waiting.append(self._writer.submit(self._write, name, parts, durable))

    def wait(self) -> None:
        """Until everything that was put is written.

        Raises:
            OSError, sqlite3.Error: it could not be.
        """
        waiting, self._waiting = self._waiting, []
        for write in waiting:
            write.result()

    def _write(self, name: str, parts: tuple[bytes, ...], durable: bool) -> None:
        if sum(map(len, parts)) >= self._long_bytes:
            self._write_file(self._folder / name, parts)
            if durable and self._unsynced:
                # A file takes no row along.
                self._database.execute("PRAGMA wal_checkpoint(FULL)")
                self._unsynced = False
            return
        self._database.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        self._database.execute("INSERT OR REPLACE INTO records VALUES (?, ?)", (name, b"".join(parts)))
        self._unsynced = not durable

    def _write_file(self, path: Path, parts: tuple[bytes, ...]) -> None:
        draft = path.with_suffix(DRAFT)
        self._files.write(draft, parts)
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

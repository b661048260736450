"""Named records of one study on disk: short ones in a log, long ones as files of their own, written behind the round's back.

What waits for the disk, and what is long, is written by one thread in the order in which it came. A short record costs one write and no
change of the folder, which matters where every round waits for the disk; a long one would be read again at every opening of a log.
"""

from __future__ import annotations

import os
import sqlite3
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from hospital_node.record_log import RecordLog
from privacy.link.direct_file import DirectFiles

LOG = "records.log"
# Where earlier versions kept the short ones.
DATABASE = "records.db"
LONG_BYTES = 1 << 20
DRAFT = ".draft"


class SumStore:
    """The records of one folder, made with mode 0700; one process at a time. Names begin with a number."""

    def __init__(self, folder: Path, long_bytes: int = LONG_BYTES) -> None:
        """Open or create the folder; records of so many bytes or more become files.

        Raises:
            OSError, sqlite3.Error: it cannot be opened, or what an earlier version kept cannot be read.
        """
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._folder = folder
        self._long_bytes = long_bytes
        self._log = RecordLog(folder / LOG)
        self._take_over(folder / DATABASE)
        self._writer = ThreadPoolExecutor(1, "sums")
        self._files = DirectFiles()
        self._waiting: list[Future[None]] = []
        # Whether a record of the log was written that a loss of power may still take back.
        self._unsynced = False

    def _take_over(self, database: Path) -> None:
        """Every record of an earlier version's database; it goes when they are on the disk.

        A process that ended meanwhile, or a loss of power behind the database's end, leaves it beside the log: what the log has is as new or newer.
        """
        if not database.exists():
            return
        with closing(sqlite3.connect(database)) as earlier:
            # The earlier version may have ended before it made its table.
            made = earlier.execute("SELECT 1 FROM sqlite_schema WHERE name = 'records'").fetchone()
            for name, data in earlier.execute("SELECT name, data FROM records") if made else ():
                if self._log.get(str(name)) is None:
                    self._log.append(str(name), (bytes(data),))
        self._log.sync()
        database.unlink()

    def names(self) -> list[str]:
        """Of all records that were written."""
        self.wait()
        files = [path for path in self._folder.glob("[0-9]*") if path.suffix != DRAFT]
        return self._log.names() + [path.name for path in files]

    def get(self, name: str) -> bytes | None:
        """A record, None for an unknown one.

        Raises:
            OSError: what was put before could not be written.
        """
        self.wait()
        found = self._log.get(name)
        if found is not None:
            return found
        path = self._folder / name
        return path.read_bytes() if path.is_file() else None

    def put(self, name: str, *parts: bytes, durable: bool = True) -> bool:
        """Write a record, all of it or nothing: a short one that no loss of power must spare at once, others while the caller goes on.

        Args:
            name: of the record; the last one of a name stays.
            parts: its bytes.
            durable: on the disk when `wait` returns, with all that was put before. Otherwise a loss of power may still take it back.

        Returns:
            Whether it is written already, so that also a killed process finds it.

        Raises:
            OSError: it was to be written at once, and could not be.
        """
        if durable or self._waiting or self._is_long(parts):
            self._waiting.append(self._writer.submit(self._write, name, parts, durable))
            return False
        self._write(name, parts, durable)
        return True

    def wait(self) -> None:
        """Until everything that was put is written.

        Raises:
            OSError: it could not be.
        """
        waiting, self._waiting = self._waiting, []
        failed = [error for write in waiting if (error := write.exception()) is not None]
        if failed:
            raise failed[0]

    def _is_long(self, parts: tuple[bytes, ...]) -> bool:
        return sum(map(len, parts)) >= self._long_bytes

    def _write(self, name: str, parts: tuple[bytes, ...], durable: bool) -> None:
        if self._is_long(parts):
            self._write_file(self._folder / name, parts)
        else:
            self._unsynced = True
            self._log.append(name, parts)
        if durable and self._unsynced:
            # A file takes no record of the log along.
            self._log.sync()
            self._unsynced = False

    def _write_file(self, path: Path, parts: tuple[bytes, ...]) -> None:
        draft = path.with_suffix(DRAFT)
        self._files.write(draft, parts)
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

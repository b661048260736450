"""Where the coordinator's own disk fails: the run stops with a sentence, the study stays open, and the same command goes on with it.

To go on by itself would cost every hospital another round of its budget for no sum.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REMEDY = "make room or mend the disk there and start the same command again: the study is open and goes on behind its last stored round"
# What SQLite says of a disk; the low byte of its codes is the family.
_OF_THE_DISK = frozenset(
    {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN}
)


class DiskFault(Exception):
    """A folder of the coordinator's that cannot be written or read; `reason` is for everybody, the sentence for the coordinator's operator."""

    exit_code = 2

    def __init__(self, what: str, folder: Path, reason: str) -> None:
        super().__init__(f"{what} cannot be kept in {folder} ({reason}); {_REMEDY}")
        self.folder = folder
        self.reason = f"the coordinator's disk failed: {reason}"


@contextmanager
def disk_faults(what: str, folder: Path) -> Iterator[None]:
    """Turns what the disk below `folder` does meanwhile into a DiskFault.

    Args:
        what: was to be kept there, for the sentence.
        folder: where.

    Raises:
        DiskFault: for an OSError, or an error of SQLite that is one of the disk; others go through.
    """
    try:
        yield
    except OSError as error:
        raise DiskFault(what, folder, error.strerror or str(error)) from error
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF not in _OF_THE_DISK:
            raise
        raise DiskFault(what, folder, str(error)) from error

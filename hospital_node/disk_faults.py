"""Where the hospital's own disk fails: the node ends with a sentence, and goes on where it stood once it is started again.

Nothing was sent of what could not be written down.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_REMEDY = "nothing was sent of what could not be written; make room or mend the disk there and start again"
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
# What SQLite says of a disk; the low byte of its codes is the family.
_OF_A_DATABASE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY})


class HomeFault(Exception):
    """The hospital's folder cannot be written or read."""

    exit_code = 2

    def __init__(self, home: Path, problem: str) -> None:
        super().__init__(f"the files of this hospital in {home} cannot be kept ({problem}); {_REMEDY}")
        self.home = home
        self.problem = problem


@contextmanager
def disk_faults(home: Path) -> Iterator[None]:
    """Turns what the disk does meanwhile into a HomeFault.

    Raises:
        HomeFault: for errors of a disk alone; those with a sentence of their own, and all others, go through.
    """
    try:
        yield
    except OSError as error:
        if hasattr(error, "exit_code") or error.errno not in _OF_THE_DISK:
            raise
        raise HomeFault(home, error.strerror or str(error)) from error
    except sqlite3.OperationalError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _OF_A_DATABASE:
            raise
        raise HomeFault(home, str(error)) from error

"""Where the hospital's own disk fails: the node ends with a sentence, and goes on where it stood once it is started again.

Nothing was sent of what could not be written down.
"""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAKE_ROOM = "nothing was sent of what could not be written; make room or mend the disk there and start again"
_ASK_DOCTOR = "nothing is sent without it; `wardround-hospital doctor` says which file it is and what to do"
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS})
# What SQLite says of a disk; the low byte of its codes is the family.
_OF_A_DATABASE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})


class HomeFault(Exception):
    """The hospital's folder cannot be written or read."""

    exit_code = 2

    def __init__(self, home: Path, problem: str, remedy: str) -> None:
        super().__init__(f"the files of this hospital in {home} cannot be kept ({problem}); {remedy}")
        self.home = home
        self.problem = problem


@contextmanager
def disk_faults(home: Path) -> Iterator[None]:
    """Turns what the disk does meanwhile into a HomeFault.

    Raises:
        HomeFault: for errors of a disk, and for a damaged database; those with a sentence of their own, and all others, go through.
    """
    try:
        yield
    except OSError as error:
        if hasattr(error, "exit_code") or error.errno not in _OF_THE_DISK:
            raise
        raise HomeFault(home, error.strerror or str(error), _MAKE_ROOM) from error
    except sqlite3.DatabaseError as error:
        code = getattr(error, "sqlite_errorcode", 0) & 0xFF
        if code not in _OF_A_DATABASE | _DAMAGED:
            raise
        raise HomeFault(home, str(error), _ASK_DOCTOR if code in _DAMAGED else _MAKE_ROOM) from error

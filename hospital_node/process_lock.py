"""One process at a time on the files of a hospital: a lock that the system takes back when the process is gone, however it went.

It is flock(2)'s on an empty file of its own, which is never deleted: on the database's file it could meet SQLite's own locks (a file system
of a network makes one kind out of both), and of two files of one name each process could hold one. A process that was forked holds it
too until it ends; a program that was started does not get it.
"""

from __future__ import annotations

import errno
import fcntl
import os
from pathlib import Path

LOCK_SUFFIX = ".lock"


class LockTaken(Exception):
    """Another process holds the lock."""


class NoLocks(Exception):
    """The file system has no locks; SQLite, which needs them too, would not be safe there either."""

    exit_code = 2

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"{path} cannot be locked, so that two processes could take part for this hospital; put --home on a disk of this machine"
        )
        self.path = path


class ProcessLock:
    """The lock, from here until `release`, the end of the process, or until nobody refers to it any more."""

    def __init__(self, path: Path) -> None:
        """Take it, without waiting.

        Args:
            path: of the lock's file, in a folder that is there; made with mode 0600.

        Raises:
            LockTaken: another process has it.
            NoLocks: nobody can.
        """
        self._file = open(path, "ab", opener=_owners)  # noqa: SIM115 - it stays open as long as the lock
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            if isinstance(error, BlockingIOError):
                raise LockTaken from None
            if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise NoLocks(path) from None
            raise

    def release(self) -> None:
        """Let others have it; the file stays."""
        # Closed, not unlocked: a forked process that ends like this must not take the lock from the one that goes on.
        self._file.close()


def _owners(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)

"""Long files that are written once and not read before a restart, past the system's page cache.

A page cache keeps what is never asked for, and takes a new page for each of its pages. Where the machine is a virtual one that gives
free memory back, a new page costs several times what the copy into it does.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
from collections.abc import Iterable
from pathlib import Path

# Of what goes past the cache, the place in memory and in the file; no disk in use asks for more.
ALIGNED_BYTES = 4096
BUFFER_BYTES = 2 << 20
# Nothing where the system has no such flag, as macOS.
_DIRECT: int = getattr(os, "O_DIRECT", 0)


class DirectFiles:
    """Writes one file at a time, from one buffer that is kept."""

    def __init__(self, buffer_bytes: int = BUFFER_BYTES) -> None:
        """The buffer, a multiple of `ALIGNED_BYTES`, takes no memory before the first file is written."""
        self._buffer = memoryview(mmap.mmap(-1, buffer_bytes))

    def write(self, path: Path, parts: Iterable[bytes | memoryview]) -> None:
        """A file with these bytes, mode 0600, on the disk when this returns; its name is not yet.

        Raises:
            OSError: it could not be written; what is there then is no such file.
        """
        handle = os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
        try:
            _go_past_the_cache(handle, True)
            filled = length = 0
            for part in parts:
                left = memoryview(part).cast("B")
                length += len(left)
                while left:
                    fits = min(len(left), len(self._buffer) - filled)
                    self._buffer[filled : filled + fits] = left[:fits]
                    filled, left = filled + fits, left[fits:]
                    if filled == len(self._buffer):
                        _write(handle, self._buffer)
                        filled = 0
            # Whole units; what is too much is cut off again.
            _write(handle, self._buffer[: -(-filled // ALIGNED_BYTES) * ALIGNED_BYTES])
            os.ftruncate(handle, length)
            os.fsync(handle)
        finally:
            os.close(handle)


def _write(handle: int, data: memoryview) -> None:
    while data:
        try:
            data = data[os.write(handle, data) :]
        except OSError as error:
            if error.errno != errno.EINVAL or not fcntl.fcntl(handle, fcntl.F_GETFL) & _DIRECT:
                raise
            # A disk of larger units, or a write that was cut short within one.
            _go_past_the_cache(handle, False)


def _go_past_the_cache(handle: int, past: bool) -> None:
    """Where the file system cannot, the cache is as good but for its cost."""
    flags = fcntl.fcntl(handle, fcntl.F_GETFL)
    try:
        fcntl.fcntl(handle, fcntl.F_SETFL, flags | _DIRECT if past else flags & ~_DIRECT)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise

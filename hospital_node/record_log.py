"""Named records one behind the other in one file that only grows: a record costs one write, and one sync takes along all before it.

A record is its lengths, a checksum, its name and its data. A process that died, or a loss of power, may leave a last piece that is no
record, and several where none was synced; from the first of them on the file is cut when it is opened.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import struct
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from secagg.long_hash import sha256_of

# Bytes of the name, of the data but for its last part, and of that part.
_LENGTHS = struct.Struct(">HIQ")
_HEADER_BYTES = _LENGTHS.size + hashlib.sha256().digest_size


class RecordLog:
    """One file, made with mode 0600; two processes that write it see each other's records."""

    def __init__(self, path: Path) -> None:
        """Open or create it, and cut what is no record.

        Raises:
            OSError: it cannot be.
        """
        is_new = not path.exists()
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        weakref.finalize(self, os.close, self._handle)
        # Where the last record of a name begins, and how long its data is.
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0
        with self._alone():
            self._read_on()
        if is_new:
            _sync_folder(path.parent)

    def names(self) -> list[str]:
        """Of all records."""
        return list(self._places)

    def get(self, name: str) -> bytes | None:
        """The data of the last record of a name."""
        if name not in self._places:
            return None
        start, length = self._places[name]
        return os.pread(self._handle, length, start)

    def append(self, name: str, parts: Sequence[bytes | memoryview]) -> None:
        """One more record; a killed process finds it again.

        Raises:
            OSError: it could not be written, and the file is as it was.
        """
        head, body = b"".join(parts[:-1]), parts[-1]
        called = name.encode()
        lengths = _LENGTHS.pack(len(called), len(head), len(body))
        pieces = (lengths, _checksum(lengths, called, head, body), called, head, body)
        due = sum(map(len, pieces))
        with self._alone():
            if os.fstat(self._handle).st_size != self._end:
                self._read_on()
            try:
                if os.pwritev(self._handle, pieces, self._end) != due:
                    raise OSError(f"the disk took a part of the record {name}")
            except OSError:
                os.ftruncate(self._handle, self._end)
                raise
            self._places[name] = self._end + _HEADER_BYTES + len(called), len(head) + len(body)
            self._end += due

    def sync(self) -> None:
        """Until all records are on the disk."""
        os.fsync(self._handle)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process reads on or writes: half of its record would be cut."""
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _read_on(self) -> None:
        """Take in the records behind the known ones."""
        size = os.fstat(self._handle).st_size
        while self._end < size and self._read_one(size - self._end):
            pass
        if self._end < size:
            os.ftruncate(self._handle, self._end)
            # Otherwise what was cut could come back behind the next record.
            os.fsync(self._handle)

    def _read_one(self, left: int) -> bool:
        """Whether the next bytes are a record."""
        header = os.pread(self._handle, _HEADER_BYTES, self._end)
        if len(header) < _HEADER_BYTES:
            return False
        lengths = header[: _LENGTHS.size]
        called, head, body = _LENGTHS.unpack(lengths)
        length = called + head + body
        if _HEADER_BYTES + length > left:
            return False
        start = self._end + _HEADER_BYTES
        data = memoryview(os.pread(self._handle, length, start))
        name = bytes(data[:called])
        found = _checksum(lengths, name, bytes(data[called : called + head]), data[called + head :])
        if found != header[_LENGTHS.size :]:
            return False
        self._places[name.decode()] = start + called, head + body
        self._end = start + length
        return True


def _checksum(lengths: bytes, name: bytes, head: bytes, body: bytes | memoryview) -> bytes:
    """The hash of a long body is often known: a signed sum's was just compared."""
    return hashlib.sha256(lengths + name + head + sha256_of(body)).digest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

"""Named records one behind the other in one file that only grows: a record costs one write, and one sync takes along all before it.

A record is a mark, its lengths, how much of the file was on the disk before it, a checksum, its name and its data. A process that died, or a loss
of power, may leave a last piece that is no record, and several where none was synced; from the first of them on the file is cut when it is
opened. Where a later record says that this piece was on the disk already, no such end explains it: nothing is cut, and nobody goes on.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import mmap
import os
import struct
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from secagg.long_hash import sha256_of

# By which records are found behind a damaged one.
_MARK = b"\xa7record\n"
# Bytes of the name, of the data but for its last part, and of that part; bytes of the file that were on the disk before.
_LENGTHS = struct.Struct(">HIQQ")
_CHECKED = len(_MARK) + _LENGTHS.size
_HEADER_BYTES = _CHECKED + hashlib.sha256().digest_size


class LogDamaged(Exception):
    """A record that was on the disk is not what was written; those behind it are not thrown away for it."""

    exit_code = 2

    def __init__(self, path: Path, place: int) -> None:
        super().__init__(
            f"{path} is damaged at byte {place}, before records that were on the disk: look after the disk, then put a copy of the file back "
            "or move it away; without it this hospital cannot tell whether the next model follows from the signed sums"
        )
        self.path = path
        self.place = place


@dataclass(frozen=True, slots=True)
class _Record:
    """Where its data is, where the next one begins, and how much of the file was on the disk when it was written."""

    name: str
    start: int
    length: int
    synced: int

    @property
    def end(self) -> int:
        return self.start + self.length


class RecordLog:
    """One file, made with mode 0600; two processes that write it see each other's records."""

    def __init__(self, path: Path) -> None:
        """Open or create it, and cut what is no record.

        Raises:
            LogDamaged: what was on the disk is not what was written.
            OSError: it cannot be.
        """
        self._path = path
        is_new = not path.exists()
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        weakref.finalize(self, os.close, self._handle)
        # Where the last record of a name begins, and how long its data is.
        self._places: dict[str, tuple[int, int]] = {}
        self._end = 0
        # So much of it is known to be on the disk.
        self._synced = 0
        with self._alone():
            self._read_on()
        if self._synced < self._end:
            # So that the records from here on can say so of all before them.
            self.sync()
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
        lengths = _MARK + _LENGTHS.pack(len(called), len(head), len(body), self._synced)
        pieces = (lengths, _checksum(lengths, called, head, body), called, head, body)
        due = sum(map(len, pieces))
        with self._alone():
            if os.fstat(self._handle).st_size != self._end:
                self._read_on()
            try:
                if os.pwritev(self._handle, pieces, self._end) != due:
                    told = f"{os.strerror(errno.ENOSPC)}: it took a part of the record {name}"
                    raise OSError(errno.ENOSPC, told)
            except OSError:
                os.ftruncate(self._handle, self._end)
                raise
            self._places[name] = self._end + _HEADER_BYTES + len(called), len(head) + len(body)
            self._end += due

    def sync(self) -> None:
        """Until all records are on the disk."""
        end = self._end
        os.fsync(self._handle)
        self._synced = end

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """No other process reads on or writes: half of its record would be cut."""
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _read_on(self) -> None:
        """Take in the records behind the known ones.

        Raises:
            LogDamaged: see the class.
        """
        size = os.fstat(self._handle).st_size
        while self._end < size and (record := self._record(self._end, size)) is not None:
            self._places[record.name] = record.start, record.length
            self._end, self._synced = record.end, max(self._synced, record.synced)
        if self._end < size:
            if self._was_synced(size):
                raise LogDamaged(self._path, self._end)
            os.ftruncate(self._handle, self._end)
            # Otherwise what was cut could come back behind the next record.
            self.sync()

    def _was_synced(self, size: int) -> bool:
        """Whether a record behind the end was written when the bytes there were on the disk."""
        with mmap.mmap(self._handle, size, access=mmap.ACCESS_READ) as file:
            place = self._end
            while (place := file.find(_MARK, place + 1)) >= 0:
                record = self._record(place, size)
                if record is not None and record.synced > self._end:
                    return True
        return False

    def _record(self, place: int, size: int) -> _Record | None:
        """The record that begins there; None for what is none."""
        header = os.pread(self._handle, _HEADER_BYTES, place)
        if len(header) < _HEADER_BYTES or not header.startswith(_MARK):
            return None
        lengths = header[:_CHECKED]
        called, head, body, synced = _LENGTHS.unpack(lengths[len(_MARK) :])
        length = called + head + body
        start = place + _HEADER_BYTES
        if start + length > size:
            return None
        data = memoryview(os.pread(self._handle, length, start))
        name = bytes(data[:called])
        found = _checksum(lengths, name, bytes(data[called : called + head]), data[called + head :])
        if found != header[_CHECKED:]:
            return None
        return _Record(name.decode(), start + called, head + body, synced)


def _checksum(lengths: bytes, name: bytes, head: bytes, body: bytes | memoryview) -> bytes:
    """The hash of a long body is often known: a signed sum's was just compared."""
    return hashlib.sha256(lengths + name + head + sha256_of(body)).digest()


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)

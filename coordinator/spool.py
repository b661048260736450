"""Masked vectors while a round runs: the first ones in memory up to a bound, the rest on disk, so that memory stays O(coordinates) however many hospitals upload."""

from __future__ import annotations

import hashlib
import os
import shutil
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from coordinator.disk_faults import DiskFault, disk_faults
from secagg.memory import fresh_vector

# What a round's vectors may take in memory together; a vector that does not fit goes to disk.
MEMORY_BYTES = 64 << 20
# A chunk from this length on stays in the message that brought it. Shorter ones are copied into one place: a vector that comes
# byte by byte must not cost more than its bytes.
LONG_BYTES = 1 << 16


# What a disk fault is said of.
VECTORS = "the vectors of a round"


class SpoolError(Exception):
    """A chunk that does not continue its vector; names the hospital, the offset it sent and the one expected."""

    def __init__(self, hospital: str, offset: int, expected: int) -> None:
        super().__init__(
            f"{hospital} sent vector bytes at offset {offset} where {expected} was due; its upload is not used"
        )
        self.hospital = hospital
        self.offset = offset
        self.expected = expected


@dataclass(slots=True)
class _Incoming:
    """What came of a vector: on disk, or in memory as parts that follow each other, each with the offset where it begins."""

    on_disk: bool
    length: int = 0
    digest: Any = field(default_factory=hashlib.sha256)
    starts: list[int] = field(default_factory=list)
    parts: list[memoryview] = field(default_factory=list)
    whole: memoryview | None = None

    def keep(self, data: memoryview, vector_bytes: int) -> None:
        """The next bytes, in memory."""
        if self.whole is None and not _stays(data, self.length + len(data) == vector_bytes):
            self._gather(fresh_vector(vector_bytes, np.dtype(np.uint8)).data)
        if self.whole is None:
            self.starts.append(self.length)
            self.parts.append(data)
        else:
            self.whole[self.length : self.length + len(data)] = data

    def _gather(self, whole: memoryview) -> None:
        """Takes what came into one place, part by part, so that little is there twice."""
        while self.parts:
            part, start = self.parts.pop(), self.starts.pop()
            whole[start : start + len(part)] = part
        self.take_place(whole)

    def take_place(self, whole: memoryview) -> None:
        """The whole vector's place from now on; what is in it beyond `length` is not the vector's."""
        self.whole, self.starts, self.parts = whole, [0], [whole]

    def copy_to(self, memory: memoryview, offset: int) -> int:
        """Fills the memory with what came from this byte on; how many bytes there were."""
        end = min(self.length, offset + len(memory))
        done, place = offset, bisect_right(self.starts, offset) - 1
        while done < end:
            start, part = self.starts[place], self.parts[place]
            stop = min(end, start + len(part))
            memory[done - offset : stop - offset] = part[done - start : stop - start]
            done, place = stop, place + 1
        return max(0, end - offset)


def check_room(directory: Path, vector_bytes: int, hospitals: int, memory_bytes: int = MEMORY_BYTES) -> None:
    """Before a round: its order would cost the hospitals their budget, and their vectors find no place.

    Raises:
        DiskFault: the file system has less room free than the vectors take that do not fit into memory.
    """
    needed = max(0, hospitals - memory_bytes // vector_bytes) * vector_bytes
    there = next(folder for folder in (directory, *directory.parents) if folder.exists())
    with disk_faults(VECTORS, directory):
        system = os.statvfs(there)
    free = system.f_bavail * system.f_frsize
    # Some file systems, of a network, do not count.
    if system.f_blocks and free < needed:
        raise DiskFault(VECTORS, directory, f"{needed >> 20} MiB are needed and {free >> 20} MiB free")


def _stays(data: memoryview, is_last: bool) -> bool:
    """Whether a chunk is kept where it is: it cannot change, and little else is held by it."""
    whole = data.obj
    return (is_last or len(data) >= LONG_BYTES) and isinstance(whole, bytes) and 2 * len(data) >= len(whole)


class Spool:
    """Vectors of one round, each `vector_bytes` long when complete; all in memory together take `memory_bytes` at most.

    Whatever the disk refuses is raised as DiskFault; the round cannot go on then.
    """

    def __init__(self, directory: Path, vector_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        # What a killed process left there; the folder is made when a vector goes to it.
        shutil.rmtree(directory, ignore_errors=True)
        self._directory = directory
        self._vector_bytes = vector_bytes
        self._places = memory_bytes // vector_bytes
        self._incoming: dict[str, _Incoming] = {}

    def _path(self, hospital: str) -> Path:
        return self._directory / f"{hospital}.bin"

    def add(self, hospital: str, offset: int, data: bytes | memoryview) -> None:
        """Appends the next chunk. Offset 0 starts the vector anew: a hospital that was restarted sends all of it again.

        Args:
            data: its message may be kept until the round is over.

        Raises:
            SpoolError: the chunk does not start where the last one ended, or the vector grows beyond its length.
            DiskFault: it cannot be written.
        """
        if offset == 0 or hospital not in self._incoming:
            self._begin(hospital)
        incoming = self._incoming[hospital]
        end = incoming.length + len(data)
        if offset != incoming.length or end > self._vector_bytes:
            raise SpoolError(hospital, offset, incoming.length)
        if incoming.on_disk:
            with disk_faults(VECTORS, self._directory), self._path(hospital).open("ab") as file:
                file.write(data)
        else:
            incoming.keep(memoryview(data), self._vector_bytes)
        incoming.length = end
        incoming.digest.update(data)

    def _begin(self, hospital: str) -> None:
        """An empty vector, in memory or on disk as it was if it is sent again."""
        before = self._incoming.get(hospital)
        if before is not None:
            on_disk = before.on_disk
        else:
            on_disk = self._places == 0
            self._places -= not on_disk
        if on_disk:
            with disk_faults(VECTORS, self._directory):
                self._directory.mkdir(parents=True, exist_ok=True)
                self._path(hospital).unlink(missing_ok=True)
        self._incoming[hospital] = anew = _Incoming(on_disk)
        if before is not None and before.whole is not None:
            # Else each beginning of a vector in small chunks would cost new memory.
            anew.take_place(before.whole)

    def complete(self, hospital: str) -> bool:
        incoming = self._incoming.get(hospital)
        return incoming is not None and incoming.length == self._vector_bytes

    def sha256(self, hospital: str) -> bytes:
        """Digest of the bytes spooled so far."""
        return bytes(self._incoming[hospital].digest.digest())

    def read_into(self, hospital: str, offset: int, memory: memoryview) -> int:
        """Fills the memory with the hospital's vector from this byte on; how many bytes there were. From any thread.

        Memory of the caller, because a block of new pages costs more than to read what is to stand in it.

        Raises:
            DiskFault: it cannot be read.
        """
        incoming = self._incoming[hospital]
        if not incoming.on_disk:
            return incoming.copy_to(memory, offset)
        with disk_faults(VECTORS, self._directory), self._path(hospital).open("rb", buffering=0) as file:
            return os.preadv(file.fileno(), [memory], offset)

    def clear(self) -> None:
        """Drops all vectors of the round."""
        on_disk = any(incoming.on_disk for incoming in self._incoming.values())
        self._incoming.clear()
        if on_disk:
            shutil.rmtree(self._directory, ignore_errors=True)

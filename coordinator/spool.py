"""Masked vectors while a round runs: the first ones in memory up to a bound, the rest on disk, so that memory stays O(coordinates) however many hospitals upload."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from secagg.masks import Ring
from secagg.memory import fresh_vector

# What a round's vectors may take in memory together; a vector that does not fit goes to disk.
MEMORY_BYTES = 64 << 20


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
    """What came of a vector; `memory` is the whole vector's place, None for one on disk."""

    memory: Ring | None
    length: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class Spool:
    """Vectors of one round, each `vector_bytes` long when complete; all in memory together take `memory_bytes` at most."""

    def __init__(self, directory: Path, vector_bytes: int, memory_bytes: int = MEMORY_BYTES) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self._directory = directory
        self._vector_bytes = vector_bytes
        self._places = memory_bytes // vector_bytes
        self._incoming: dict[str, _Incoming] = {}

    def _path(self, hospital: str) -> Path:
        return self._directory / f"{hospital}.bin"

    def add(self, hospital: str, offset: int, data: bytes | memoryview) -> None:
        """Appends the next chunk. Offset 0 starts the vector anew: a hospital that was restarted sends all of it again.

        Raises:
            SpoolError: the chunk does not start where the last one ended, or the vector grows beyond its length.
        """
        if offset == 0 or hospital not in self._incoming:
            self._begin(hospital)
        incoming = self._incoming[hospital]
        end = incoming.length + len(data)
        if offset != incoming.length or end > self._vector_bytes:
            raise SpoolError(hospital, offset, incoming.length)
        if incoming.memory is None:
            with self._path(hospital).open("ab") as file:
                file.write(data)
        else:
            incoming.memory[offset:end] = np.frombuffer(data, dtype=np.uint8)
        incoming.length = end
        incoming.digest.update(data)

    def _begin(self, hospital: str) -> None:
        """An empty vector, in its old place if it had one."""
        before = self._incoming.get(hospital)
        memory = None if before is None else before.memory
        if before is None and self._places > 0:
            self._places -= 1
            memory = fresh_vector(self._vector_bytes, np.dtype(np.uint8))
        self._incoming[hospital] = _Incoming(memory)
        self._path(hospital).unlink(missing_ok=True)

    def complete(self, hospital: str) -> bool:
        incoming = self._incoming.get(hospital)
        return incoming is not None and incoming.length == self._vector_bytes

    def sha256(self, hospital: str) -> bytes:
        """Digest of the bytes spooled so far."""
        return bytes(self._incoming[hospital].digest.digest())

    def in_memory(self, hospital: str) -> memoryview | None:
        """The hospital's vector where it is, so far as it came; None if it is on disk."""
        incoming = self._incoming[hospital]
        return None if incoming.memory is None else incoming.memory.data.toreadonly()[: incoming.length]

    def read_into(self, hospital: str, offset: int, memory: memoryview) -> int:
        """Fills the memory with the hospital's vector from this byte on; how many bytes there were. From any thread.

        Memory of the caller, because a block of new pages costs more than to read what is to stand in it.
        """
        held = self.in_memory(hospital)
        if held is not None:
            part = held[offset : offset + len(memory)]
            memory[: len(part)] = part
            return len(part)
        file = os.open(self._path(hospital), os.O_RDONLY)
        try:
            return os.preadv(file, [memory], offset)
        finally:
            os.close(file)

    def clear(self) -> None:
        """Drops all vectors of the round."""
        self._incoming.clear()
        shutil.rmtree(self._directory, ignore_errors=True)

"""Masked vectors on disk while a round runs: memory stays O(coordinates) however many hospitals upload."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


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
    length: int = 0
    digest: Any = field(default_factory=hashlib.sha256)


class Spool:
    """Vectors of one round, one file a hospital, each `vector_bytes` long when complete."""

    def __init__(self, directory: Path, vector_bytes: int) -> None:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        self._directory = directory
        self._vector_bytes = vector_bytes
        self._incoming: dict[str, _Incoming] = {}

    def _path(self, hospital: str) -> Path:
        return self._directory / f"{hospital}.bin"

    def add(self, hospital: str, offset: int, data: bytes | memoryview) -> None:
        """Appends the next chunk. Offset 0 starts the vector anew: a hospital that was restarted sends all of it again.

        Raises:
            SpoolError: the chunk does not start where the last one ended, or the vector grows beyond its length.
        """
        if offset == 0:
            self._incoming[hospital] = _Incoming()
            self._path(hospital).unlink(missing_ok=True)
        incoming = self._incoming.setdefault(hospital, _Incoming())
        if offset != incoming.length or incoming.length + len(data) > self._vector_bytes:
            raise SpoolError(hospital, offset, incoming.length)
        with self._path(hospital).open("ab") as file:
            file.write(data)
        incoming.length += len(data)
        incoming.digest.update(data)

    def complete(self, hospital: str) -> bool:
        incoming = self._incoming.get(hospital)
        return incoming is not None and incoming.length == self._vector_bytes

    def sha256(self, hospital: str) -> bytes:
        """Digest of the bytes spooled so far."""
        return bytes(self._incoming[hospital].digest.digest())

    def read_into(self, hospital: str, offset: int, memory: memoryview) -> int:
        """Fills the memory with the hospital's vector from this byte on; how many bytes there were. From any thread.

        Memory of the caller, because a block of new pages costs more than to read what is to stand in it.
        """
        file = os.open(self._path(hospital), os.O_RDONLY)
        try:
            return os.preadv(file, [memory], offset)
        finally:
            os.close(file)

    def clear(self) -> None:
        """Deletes all vectors of the round."""
        shutil.rmtree(self._directory, ignore_errors=True)

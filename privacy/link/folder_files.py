"""The files of a folder as a mapping that reads each where it is asked for: together they may be longer than the memory.

A study leaves one receipt a round, each as long as the model. What was read once and is then another file would let two answers about one
bundle be about different bytes: that is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from secagg.long_hash import fingerprint

# Files of so many bytes or less are read once and kept, as long as all that are kept take no more than that: a folder may hold any number.
KEPT_BYTES = 1 << 16
ALL_KEPT_BYTES = 64 << 20


class FileChanged(RuntimeError):
    """A file that is not what it was when it was read before."""

    exit_code = 2

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} was changed while it was read; leave the folder alone and start again")
        self.path = path


class FolderFiles(Mapping[str, bytes]):
    """All files below a folder that are there now, by their path with forward slashes, in the order of their paths."""

    def __init__(self, folder: Path, all_kept_bytes: int = ALL_KEPT_BYTES) -> None:
        self._paths = {
            path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()
        }
        self._kept: dict[str, bytes] = {}
        self._room = all_kept_bytes
        self._digests: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        """The content.

        Raises:
            KeyError: there was no such file when the mapping was made.
            FileChanged: it is another one than when it was read before.
        """
        path = self._paths[name]
        if name in self._kept:
            return self._kept[name]
        data = path.read_bytes()
        if len(data) <= min(KEPT_BYTES, self._room):
            self._kept[name] = data
            self._room -= len(data)
        digest = fingerprint(data)
        if self._digests.setdefault(name, digest) != digest:
            raise FileChanged(path)
        return data

    def __contains__(self, name: object) -> bool:
        return name in self._paths

    def __iter__(self) -> Iterator[str]:
        return iter(self._paths)

    def __len__(self) -> int:
        return len(self._paths)

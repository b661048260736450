"""A folder's files, one at a time."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import pytest

from privacy.link.folder_files import KEPT_BYTES, FileChanged, FolderFiles

MIB = 1 << 20


def test_all_files_are_listed_by_their_path_and_read_where_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "evidence" / "receipts").mkdir(parents=True)
    (tmp_path / "model.json").write_bytes(b"{}")
    (tmp_path / "evidence" / "receipts" / "1.bin").write_bytes(b"receipt")
    files = FolderFiles(tmp_path)
    assert dict(files) == {"evidence/receipts/1.bin": b"receipt", "model.json": b"{}"}
    assert list(files) == ["evidence/receipts/1.bin", "model.json"]
    assert len(files) == 2
    assert "evidence" not in files
    (tmp_path / "later").write_bytes(b"")
    assert "later" not in files
    with pytest.raises(KeyError):
        files["later"]


@pytest.mark.parametrize("length", [KEPT_BYTES, KEPT_BYTES + 1])
def test_no_file_is_two_files_in_one_reading(tmp_path: Path, length: int) -> None:
    path = tmp_path / "receipt"
    path.write_bytes(b"a" * length)
    files = FolderFiles(tmp_path)
    assert files["receipt"] == b"a" * length
    path.write_bytes(b"b" * length)
    if length <= KEPT_BYTES:
        assert files["receipt"] == b"a" * length
    else:
        with pytest.raises(FileChanged, match="leave the folder alone and start again"):
            files["receipt"]
    path.write_bytes(b"a" * length)
    assert files["receipt"] == b"a" * length


def test_long_files_are_not_held(tmp_path: Path) -> None:
    for number in range(8):
        (tmp_path / f"{number}").write_bytes(bytes(2 * MIB))
    tracemalloc.start()
    try:
        assert sum(len(data) for data in FolderFiles(tmp_path).values()) == 16 * MIB
        assert tracemalloc.get_traced_memory()[1] < 5 * MIB
    finally:
        tracemalloc.stop()


def test_of_many_short_files_some_are_not_held_and_are_still_the_same(tmp_path: Path) -> None:
    for number in range(64):
        (tmp_path / f"{number:02}").write_bytes(bytes(KEPT_BYTES))
    files = FolderFiles(tmp_path, all_kept_bytes=MIB)
    tracemalloc.start()
    try:
        assert sum(len(data) for data in files.values()) == 4 * MIB
        assert tracemalloc.get_traced_memory()[1] < 2 * MIB
    finally:
        tracemalloc.stop()
    for path in tmp_path.iterdir():
        path.write_bytes(b"b" * KEPT_BYTES)
    assert files["00"] == bytes(KEPT_BYTES)
    with pytest.raises(FileChanged):
        files["63"]

"""Long files past the page cache: the bytes that were given, in whole units and beyond, wherever the file system allows it or not."""

from __future__ import annotations

import errno
import fcntl
import importlib
import os
import stat
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from privacy.link import direct_file
from privacy.link.direct_file import ALIGNED_BYTES, DirectFiles

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
LENGTHS = st.integers(0, 4 * ALIGNED_BYTES) | st.sampled_from([k * ALIGNED_BYTES for k in range(5)])


@FEW
@given(st.lists(LENGTHS, max_size=4), st.integers(0, 99))
def test_the_file_has_the_parts_and_nothing_else(tmp_path: Path, lengths: list[int], seed: int) -> None:
    random = Random(seed)
    parts = [random.randbytes(length) for length in lengths]
    files = DirectFiles(2 * ALIGNED_BYTES)
    # What the buffer held before is in no file behind it.
    files.write(tmp_path / "file", [b"x" * 3 * ALIGNED_BYTES])
    files.write(tmp_path / "file", parts)
    assert (tmp_path / "file").read_bytes() == b"".join(parts)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o600


@pytest.mark.parametrize("refuses", ["to be asked", "to write"])
def test_where_the_file_system_cannot_the_cache_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: str
) -> None:
    data = os.urandom(3 * ALIGNED_BYTES + 5)
    control, write, past = fcntl.fcntl, os.write, list[bool]()

    def cannot(handle: int, command: int, flags: int = 0) -> int:
        if command == fcntl.F_SETFL and flags & os.O_DIRECT and refuses == "to be asked":
            raise OSError(errno.EINVAL, "not here")
        return control(handle, command, flags)

    def writes(handle: int, block: memoryview) -> int:
        past.append(bool(control(handle, fcntl.F_GETFL) & os.O_DIRECT))
        if past[-1] and len(past) > 1:
            raise OSError(errno.EINVAL, "larger units")
        return write(handle, block)

    monkeypatch.setattr(fcntl, "fcntl", cannot)
    monkeypatch.setattr(os, "write", writes)
    DirectFiles(ALIGNED_BYTES).write(tmp_path / "file", [data])
    assert (tmp_path / "file").read_bytes() == data
    assert past[:2] == ([False, False] if refuses == "to be asked" else [True, True])


def test_a_write_that_was_cut_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, write = os.urandom(2 * ALIGNED_BYTES + 7), os.write
    monkeypatch.setattr(os, "write", lambda handle, block: write(handle, block[:1000]))
    DirectFiles().write(tmp_path / "file", [data[:9], data[9:]])
    assert (tmp_path / "file").read_bytes() == data


def test_a_disk_that_is_full_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="no space"):
        DirectFiles().write(tmp_path / "file", [b"data"])


def test_a_system_without_the_flag_writes_through_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As macOS."""
    data = os.urandom(ALIGNED_BYTES + 5)
    with monkeypatch.context() as elsewhere:
        elsewhere.delattr(os, "O_DIRECT")
        importlib.reload(direct_file)
        direct_file.DirectFiles().write(tmp_path / "file", [data])
    importlib.reload(direct_file)
    assert (tmp_path / "file").read_bytes() == data

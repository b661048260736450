"""A real file system of so many bytes, for what happens when it is full; root alone can mount one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

PAGE = 4096


@contextmanager
def small_disk(folder: Path, size: int) -> Iterator[Path]:
    """A file system at `folder`; the test is skipped where this process may mount none."""
    folder.mkdir()
    options = ["-o", f"size={size}", "tmpfs", str(folder)]
    mounted = subprocess.run(["mount", "-t", "tmpfs", *options], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path, left: int = 0) -> Path:
    """A file that leaves so many pages of its file system free."""
    filler = folder / "filler"
    filler.unlink(missing_ok=True)
    system = os.statvfs(folder)
    filler.write_bytes(bytes(max(0, system.f_bavail * system.f_frsize - left * PAGE)))
    return filler

"""The key files on disk; the coordinator's follow the same rules and run through the same tests."""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType

import pytest

import coordinator.keys
import hospital_node.keys
from privacy.link.member_keys import FILES, KeyFileError

NOW = datetime.now(UTC)


@pytest.fixture(params=[hospital_node.keys, coordinator.keys], ids=["hospital", "coordinator"])
def keys(request: pytest.FixtureRequest) -> ModuleType:
    """The module of either shell."""
    module: ModuleType = request.param
    return module


def test_files_are_private_and_load_again(keys: ModuleType, tmp_path: Path) -> None:
    folder = tmp_path / "a" / "keys"
    made = keys.create(folder, "north", entropy=os.urandom, now=NOW)
    assert keys.load(folder) == made
    assert {stat.S_IMODE((folder / name).stat().st_mode) for name in FILES} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_files_are_private_under_a_lax_umask(keys: ModuleType, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.create(tmp_path / "keys", "north", entropy=os.urandom, now=NOW)
    finally:
        os.umask(before)
    assert {stat.S_IMODE((tmp_path / "keys" / name).stat().st_mode) for name in FILES} == {0o600}


def test_keys_are_never_overwritten(keys: ModuleType, tmp_path: Path) -> None:
    made = keys.create(tmp_path, "north", entropy=os.urandom, now=NOW)
    with pytest.raises(KeyFileError, match="never overwritten"):
        keys.create(tmp_path, "south", entropy=os.urandom, now=NOW)
    assert keys.load(tmp_path) == made


@pytest.mark.parametrize("name", ["identity.key", "tls.key"])
def test_a_private_file_that_others_may_read_is_refused(keys: ModuleType, tmp_path: Path, name: str) -> None:
    keys.create(tmp_path, "north", entropy=os.urandom, now=NOW)
    (tmp_path / name).chmod(0o640)
    with pytest.raises(KeyFileError, match="open to other users"):
        keys.load(tmp_path)


def test_the_certificate_may_be_read_by_all(keys: ModuleType, tmp_path: Path) -> None:
    keys.create(tmp_path, "north", entropy=os.urandom, now=NOW)
    (tmp_path / "tls.crt").chmod(0o644)
    keys.load(tmp_path)


def test_a_missing_file_is_named(keys: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"identity\.key is missing"):
        keys.load(tmp_path)

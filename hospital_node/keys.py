"""The hospital's key files: identity.key, tls.key and tls.crt in one directory; the private ones readable by their owner alone."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from privacy.link.certificates import Role
from privacy.link.member_keys import (
    ENTROPY_BYTES,
    FILE_BYTES,
    FILES,
    TLS_CERTIFICATE,
    KeyFileError,
    MemberKeys,
    check_mode,
    key_files,
    read_key_files,
)

ROLE: Role = "hospital"


def create(
    directory: Path, member_id: str, *, entropy: Callable[[int], bytes], now: datetime, valid_days: int = 730
) -> MemberKeys:
    """Make the hospital's keys and write them.

    Args:
        directory: made if absent (mode 0700).
        entropy: gives so many unpredictable bytes, for instance `OsEntropy().take`.
        now: wall clock, UTC.

    Raises:
        KeyFileError: the directory holds keys already (they are never overwritten), or the id is not allowed.
    """
    present = [name for name in FILES if (directory / name).exists()]
    if present:
        raise KeyFileError(
            f"{directory} holds {', '.join(present)} already: keys are never overwritten; choose another directory."
        )
    files = key_files(member_id, ROLE, entropy(ENTROPY_BYTES), now, valid_days)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for name, content in files.items():
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    return load(directory)


def load(directory: Path) -> MemberKeys:
    """Read the keys. Raises KeyFileError: missing, damaged, not belonging together, or open to other users."""
    return read_key_files({name: _read(directory / name) for name in FILES}, ROLE)


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            if path.name != TLS_CERTIFICATE:
                check_mode(str(path), os.fstat(file.fileno()).st_mode)
            return file.read(FILE_BYTES)
    except FileNotFoundError:
        raise KeyFileError(f"{path} is missing: run `init` first, or restore the file.") from None

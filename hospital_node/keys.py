"""The hospital's key files: identity.key, tls.key, tls.crt and member.json in one directory, mode 0600."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from privacy.member_keys import MemberKeys


def create(
    directory: Path, member_id: str, *, entropy: Callable[[int], bytes], now: datetime, valid_days: int = 730
) -> MemberKeys:
    """Make the hospital's keys and write them; refuses a directory that already holds keys."""
    raise NotImplementedError


def load(directory: Path) -> MemberKeys:
    """Read the keys; refuses files that others may read."""
    raise NotImplementedError

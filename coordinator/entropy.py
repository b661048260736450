"""The only place of the coordinator that reads the operating system's randomness."""

from __future__ import annotations

import secrets
from typing import Protocol


class Entropy(Protocol):
    """A source of unpredictable bytes."""

    def take(self, count: int) -> bytes:
        """`count` fresh bytes."""


class OsEntropy:
    """The operating system's generator."""

    def take(self, count: int) -> bytes:
        return secrets.token_bytes(count)

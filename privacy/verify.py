"""Check a bundle offline: every hash, signature, chain and number is computed again from the evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked; ``text`` says in one sentence what was found."""

    id: str
    ok: bool
    text: str


@dataclass(frozen=True, slots=True)
class Report:
    """The outcome of `verify_bundle`."""

    checks: tuple[Check, ...]

    @property
    def ok(self) -> bool:
        """True when every check passed."""
        return bool(self.checks) and all(check.ok for check in self.checks)


def verify_bundle(files: Mapping[str, bytes]) -> Report:
    """Verify a bundle given as path to content."""
    raise NotImplementedError

"""How a consortium forms: collects enrolment files, drafts the roster, collects the hospitals' signatures on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from privacy.roster_file import TrustedRoster


@dataclass(frozen=True, slots=True)
class Enrolled:
    """One hospital that enrolled; the fingerprints are in groups, to be compared by phone."""

    id: str
    contact: str
    identity_fingerprint: str
    certificate_fingerprint: str
    path: Path


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signed the draft; `path` is the complete `roster.json`, None while somebody is missing."""

    signed: tuple[str, ...]
    missing: tuple[str, ...]
    path: Path | None


def enrol(directory: Path, files: Sequence[Path]) -> tuple[Enrolled, ...]:
    """Check enrolment files and keep them under `<directory>/members/`."""
    raise NotImplementedError


def draft_roster(directory: Path) -> Path:
    """Write `<directory>/roster.draft.json` from the enrolled hospitals and the coordinator's own keys."""
    raise NotImplementedError


def collect_signatures(directory: Path, files: Sequence[Path]) -> Signing:
    """Add the hospitals' signature files; when all signed, write `<directory>/roster.json`."""
    raise NotImplementedError


def load_roster(directory: Path) -> TrustedRoster:
    """The complete roster, verified again."""
    raise NotImplementedError

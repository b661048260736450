"""How a hospital joins: writes its enrolment file, signs the roster after the fingerprints were compared, keeps the signed roster."""

from __future__ import annotations

from pathlib import Path

from privacy.roster_file import TrustedRoster


def write_enrolment(directory: Path, contact: str) -> Path:
    """Write `<directory>/enrolment.json` (public keys, certificate, contact; nothing secret) and return its path."""
    raise NotImplementedError


def show_roster(roster_path: Path) -> str:
    """The members with their fingerprints in groups, to be compared by phone."""
    raise NotImplementedError


def sign_roster(directory: Path, roster_path: Path) -> Path:
    """Sign the roster draft; returns the path of `<directory>/<id>.signature.json` for the coordinator."""
    raise NotImplementedError


def accept_roster(directory: Path, roster_path: Path) -> TrustedRoster:
    """Verify a roster signed by all and keep it as `<directory>/roster.json`."""
    raise NotImplementedError


def load_roster(directory: Path) -> TrustedRoster:
    """The roster kept by `accept_roster`, verified again."""
    raise NotImplementedError

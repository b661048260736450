"""How a hospital joins: it writes its enrolment file, signs the roster once the fingerprints were compared by phone, and keeps the signed one."""

from __future__ import annotations

import os
from pathlib import Path

from hospital_node import keys
from privacy.link import roster_file
from privacy.link.roster_file import EnrolmentError, TrustedRoster

ENROLMENT = "enrolment.json"
CONSORTIUM = "consortium.json"


def write_enrolment(directory: Path, contact: str) -> Path:
    """Write `<directory>/enrolment.json` (public keys, certificate, contact; nothing secret) for the coordinator.

    Args:
        directory: where `keys.create` put the keys.
        contact: whom the others call to compare fingerprints, for instance "Dr. Osei, +44 20 7946 0000"; up to 500 printable characters.

    Raises: KeyFileError, EnrolmentError.
    """
    path = directory / ENROLMENT
    _replace(path, roster_file.write_enrolment(keys.load(directory), contact))
    return path


def show_roster(path: Path) -> str:
    """The members of a draft or complete consortium with contact and fingerprints, lines of text. Raises EnrolmentError."""
    return roster_file.fingerprints(roster_file.read_consortium(_read(path), str(path)))


def sign_roster(directory: Path, draft_path: Path) -> Path:
    """Sign the roster of a draft; call it after the operator compared what `show_roster` shows.

    Returns: `<directory>/<id>.signature.json`, to be sent to the coordinator.
    Raises: KeyFileError; EnrolmentError, also when the draft does not hold this hospital's own keys.
    """
    own = keys.load(directory)
    consortium = roster_file.read_consortium(_read(draft_path), str(draft_path))
    path = directory / f"{own.id}.signature.json"
    _replace(path, roster_file.sign_draft(own, consortium, str(draft_path)))
    return path


def accept_roster(directory: Path, path: Path) -> TrustedRoster:
    """Keep a consortium as `<directory>/consortium.json`, if every hospital signed it and this one is in it.

    Raises: KeyFileError, EnrolmentError.
    """
    data = _read(path)
    trusted = _trust(directory, data, str(path))
    _replace(directory / CONSORTIUM, data)
    return trusted


def load_roster(directory: Path) -> TrustedRoster:
    """The consortium kept by `accept_roster`, verified again. Raises KeyFileError, EnrolmentError."""
    path = directory / CONSORTIUM
    if not path.exists():
        raise EnrolmentError(
            f"{path} is not there: run `enrol` with the complete roster, which all hospitals signed, first."
        )
    return _trust(directory, _read(path), str(path))


def _trust(directory: Path, data: bytes, where: str) -> TrustedRoster:
    trusted = roster_file.trust(roster_file.read_consortium(data, where), where)
    if keys.load(directory).member() not in trusted.roster.hospitals:
        raise EnrolmentError(f"{where}: this roster does not hold the keys on this machine; enrol again.")
    return trusted


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(roster_file.FILE_BYTES + 1)
    except OSError as problem:
        raise EnrolmentError(f"{path} cannot be read ({problem.strerror}); check the path.") from problem


def _replace(path: Path, content: bytes) -> None:
    part = path.with_name(path.name + ".part")
    part.write_bytes(content)
    os.replace(part, path)

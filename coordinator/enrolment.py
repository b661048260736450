"""How a consortium forms: enrolment files come in, a draft of the roster goes out, the hospitals' signatures come back."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from coordinator import keys
from privacy.link import roster_file
from privacy.link.certificates import fingerprint_groups
from privacy.link.roster_file import Enrolment, EnrolmentError, TrustedRoster
from secagg.errors import RosterError

MEMBERS = "members"
DRAFT = "consortium.draft.json"
CONSORTIUM = "consortium.json"


@dataclass(frozen=True, slots=True)
class Enrolled:
    """One hospital whose file was kept; the fingerprints are in groups, to be compared by phone."""

    id: str
    contact: str
    identity_fingerprint: str
    certificate_fingerprint: str
    path: Path


@dataclass(frozen=True, slots=True)
class Signing:
    """Who signed the draft; `path` is the complete consortium file, None while somebody is missing."""

    signed: tuple[str, ...]
    missing: tuple[str, ...]
    path: Path | None


def enrol(directory: Path, files: Sequence[Path]) -> tuple[Enrolled, ...]:
    """Check the hospitals' enrolment files and keep them under `<directory>/members/`; all of them or, on an error, none.

    A hospital that enrols again replaces its earlier file: the next draft holds its new keys, and everybody signs that.

    Raises: EnrolmentError.
    """
    checked = [(path, _read(path)) for path in files]
    enrolments = [roster_file.read_enrolment(data, str(path)) for path, data in checked]
    for (path, _), enrolment in zip(checked, enrolments, strict=True):
        if enrolment.member.role != "hospital":
            raise EnrolmentError(
                f"{path}: {enrolment.member.id} enrols as {enrolment.member.role}; only hospitals enrol."
            )
    folder = directory / MEMBERS
    folder.mkdir(parents=True, exist_ok=True)
    kept = []
    for (_, data), enrolment in zip(checked, enrolments, strict=True):
        target = folder / f"{enrolment.member.id}.json"
        _replace(target, data)
        kept.append(_enrolled(enrolment, target))
    return tuple(kept)


def remove(directory: Path, hospital: str) -> None:
    """Leave a hospital out of the next draft. Raises EnrolmentError when it is not enrolled."""
    path = directory / MEMBERS / f"{hospital}.json"
    if hospital not in {file.stem for file in path.parent.glob("*.json")}:
        raise EnrolmentError(f"{hospital} is not enrolled here; see {path.parent}.")
    path.unlink()


def draft_roster(directory: Path, contact: str = "") -> Path:
    """Write `<directory>/consortium.draft.json` from the enrolled hospitals and the coordinator's own keys, to be sent to all of them.

    Signatures that were collected for the very same roster are kept, all others are dropped.

    Raises: KeyFileError, EnrolmentError.
    """
    paths = sorted((directory / MEMBERS).glob("*.json"))
    if not paths:
        raise EnrolmentError(
            f"nobody is enrolled in {directory}; run `enrol` with the hospitals' files first."
        )
    own = roster_file.read_enrolment(roster_file.write_enrolment(keys.load(directory), contact), "own keys")
    hospitals = [roster_file.read_enrolment(_read(path), str(path)) for path in paths]
    try:
        draft = roster_file.draft(own, hospitals)
    except RosterError as problem:
        raise EnrolmentError(f"{directory / MEMBERS}: {problem}.") from problem
    path = directory / DRAFT
    if path.exists() and _consortium(path).roster == draft.roster:
        return path
    _replace(path, roster_file.write_consortium(draft))
    return path


def show_roster(path: Path) -> str:
    """The members of a draft or complete consortium with contact and fingerprints, lines of text. Raises EnrolmentError."""
    return roster_file.fingerprints(_consortium(path))


def collect_signatures(directory: Path, files: Sequence[Path]) -> Signing:
    """Add the hospitals' signature files to the draft; once all signed, write `<directory>/consortium.json`, to be sent to all.

    Raises: EnrolmentError; signatures before the bad file in `files` are kept.
    """
    path = directory / DRAFT
    consortium = _consortium(path)
    for file in files:
        consortium = roster_file.add_signature(consortium, _read(file), str(file))
        _replace(path, roster_file.write_consortium(consortium))
    signed = tuple(sorted(consortium.signatures))
    missing = tuple(who for who in consortium.roster.ids if who not in consortium.signatures)
    if missing:
        return Signing(signed, missing, None)
    roster_file.trust(consortium, str(path))
    target = directory / CONSORTIUM
    _replace(target, roster_file.write_consortium(consortium))
    return Signing(signed, (), target)


def load_roster(directory: Path) -> TrustedRoster:
    """The complete consortium, verified again. Raises KeyFileError, EnrolmentError."""
    path = directory / CONSORTIUM
    if not path.exists():
        raise EnrolmentError(
            f"{path} is not there: run `roster` with the signature files of all hospitals first."
        )
    trusted = roster_file.trust(_consortium(path), str(path))
    if keys.load(directory).member() != trusted.roster.coordinator:
        raise EnrolmentError(f"{path}: this roster does not hold the keys on this machine; draft a new one.")
    return trusted


def _enrolled(enrolment: Enrolment, path: Path) -> Enrolled:
    member = enrolment.member
    return Enrolled(
        member.id,
        enrolment.contact,
        fingerprint_groups(member.identity_key),
        fingerprint_groups(member.certificate_sha256),
        path,
    )


def _consortium(path: Path) -> roster_file.Consortium:
    return roster_file.read_consortium(_read(path), str(path))


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

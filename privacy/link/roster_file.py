"""The files that go between hospitals and coordinator while a consortium forms, parsed and checked; the shells read and write them.

- enrolment: a member's public keys, certificate and contact, signed with its identity key. Nothing in it is secret.
- consortium: the roster, the certificates it pins, and the hospitals' signatures so far. A draft lacks some; only one that every hospital
  signed becomes a `TrustedRoster`, which is the only trust anchor of the link and of the protocol.
- signature: one hospital's signature over the roster of a draft.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from privacy.link.canonical import NotCanonicalError, canonical, parse_canonical
from privacy.link.certificates import (
    CertificateProblem,
    Role,
    check_enrolled,
    fingerprint_groups,
    read_certificate,
)
from privacy.link.member_keys import MemberKeys
from privacy.link.transport_rules import Pin
from secagg import identity
from secagg.context import label
from secagg.errors import BadSignature, RosterError
from secagg.roster import Member, Roster, SignedRoster, parse_roster, sign_roster, verify_signed_roster

FILE_BYTES = 8 * 2**20


# Printed on the operators' terminals, so no control characters.
_Contact = Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f-\x9f]{0,500}$")]


class EnrolmentError(Exception):
    """An enrolment, consortium or signature file that cannot be used; one sentence with the remedy."""


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


_F = TypeVar("_F", bound=_File)


class _EnrolmentFile(_File):
    kind: Literal["wardround enrolment 1"] = "wardround enrolment 1"
    id: str
    role: Role
    contact: _Contact
    identity_key: str = Field(pattern="^[0-9a-f]{64}$")
    certificate: str = Field(max_length=16384)
    signature: str = Field(pattern="^([0-9a-f]{128})?$")


class _ConsortiumFile(_File):
    kind: Literal["wardround consortium 1"] = "wardround consortium 1"
    roster: str
    certificates: dict[str, str]
    contacts: dict[str, _Contact]
    signatures: dict[str, str]


class _SignatureFile(_File):
    kind: Literal["wardround roster signature 1"] = "wardround roster signature 1"
    id: str
    roster_sha256: str
    signature: str = Field(pattern="^[0-9a-f]{128}$")


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A checked enrolment: the member's line of the roster, its certificate (PEM) and whom to call."""

    member: Member
    certificate_pem: bytes
    contact: str


@dataclass(frozen=True, slots=True)
class Consortium:
    """A roster with its certificates, contacts and the signatures so far; certificates match the roster, signatures are not checked yet."""

    roster: Roster
    certificates: Mapping[str, bytes]
    contacts: Mapping[str, str]
    signatures: Mapping[str, bytes]

    @property
    def members(self) -> tuple[Member, ...]:
        """The coordinator first, then the hospitals in roster order."""
        return (self.roster.coordinator, *self.roster.hospitals)


@dataclass(frozen=True, slots=True)
class TrustedRoster:
    """A roster that every hospital signed, with the certificates it pins. Made by `trust` alone.

    Attributes:
        signed: the roster and its signatures; `signed.canonical` is the roster.json of the evidence.
        certificates: member id -> certificate PEM.
    """

    signed: SignedRoster
    certificates: Mapping[str, bytes]

    @property
    def roster(self) -> Roster:
        """The roster itself."""
        return self.signed.roster

    def pins(self) -> dict[bytes, Pin]:
        """Certificate SHA-256 -> who stands behind it."""
        members = (self.roster.coordinator, *self.roster.hospitals)
        return {m.certificate_sha256: Pin(m.id, m.role) for m in members}


def write_enrolment(keys: MemberKeys, contact: str) -> bytes:
    """The enrolment file of the holder of `keys`, canonical JSON. Raises EnrolmentError for a contact that is not one line."""
    try:
        unsigned = _EnrolmentFile(
            id=keys.id,
            role=keys.role,
            contact=contact,
            identity_key=keys.identity_public.hex(),
            certificate=keys.certificate_pem.decode("ascii"),
            signature="",
        )
    except ValidationError as problem:
        raise EnrolmentError("The contact must be one line of at most 500 printable characters.") from problem
    signature = identity.sign(keys.identity_private, label(None, "enrolment"), _body(unsigned))
    return _dump(unsigned.model_copy(update={"signature": signature.hex()}))


def read_enrolment(data: bytes, where: str) -> Enrolment:
    """Check an enrolment file: form, certificate, and that its sender holds the identity key. Raises EnrolmentError."""
    file = _load(_EnrolmentFile, data, where)
    pem = file.certificate.encode()
    key = bytes.fromhex(file.identity_key)
    try:
        certificate = check_enrolled(pem, file.id, file.role)
        identity.verify(
            key,
            label(None, "enrolment"),
            _body(file.model_copy(update={"signature": ""})),
            bytes.fromhex(file.signature),
        )
        member = Member(file.id, file.role, key, certificate.sha256)
    except (CertificateProblem, RosterError) as problem:
        raise EnrolmentError(f"{where}: {problem}") from problem
    except BadSignature as problem:
        raise EnrolmentError(
            f"{where}: the file was changed after it was signed; ask {file.id} to send it again."
        ) from problem
    return Enrolment(member, pem, file.contact)


def draft(coordinator: Enrolment, hospitals: list[Enrolment]) -> Consortium:
    """The unsigned consortium of these members. Raises RosterError when two share an id or a key."""
    everybody = [coordinator, *sorted(hospitals, key=lambda e: e.member.id)]
    return Consortium(
        roster=Roster(1, tuple(e.member for e in everybody[1:]), coordinator.member),
        certificates={e.member.id: e.certificate_pem for e in everybody},
        contacts={e.member.id: e.contact for e in everybody},
        signatures={},
    )


def write_consortium(consortium: Consortium) -> bytes:
    """Canonical JSON of a draft or of a complete consortium."""
    return _dump(
        _ConsortiumFile(
            roster=consortium.roster.canonical.decode(),
            certificates={who: pem.decode("ascii") for who, pem in consortium.certificates.items()},
            contacts=dict(consortium.contacts),
            signatures={who: signature.hex() for who, signature in consortium.signatures.items()},
        )
    )


def read_consortium(data: bytes, where: str) -> Consortium:
    """Read a draft or a complete consortium; every certificate must be the one that the roster pins. Raises EnrolmentError."""
    file = _load(_ConsortiumFile, data, where)
    try:
        consortium = Consortium(
            roster=parse_roster(file.roster.encode()),
            certificates={who: pem.encode() for who, pem in file.certificates.items()},
            contacts=file.contacts,
            signatures={who: bytes.fromhex(signature) for who, signature in file.signatures.items()},
        )
    except (RosterError, ValueError) as problem:
        raise EnrolmentError(f"{where}: {problem}") from problem
    ids = {m.id for m in consortium.members}
    if set(consortium.certificates) != ids or not set(consortium.contacts) <= ids:
        raise EnrolmentError(f"{where}: certificates and roster list different members; ask for a new file.")
    for member in consortium.members:
        try:
            found = check_enrolled(consortium.certificates[member.id], member.id, member.role).sha256
        except CertificateProblem as problem:
            raise EnrolmentError(f"{where}: {member.id}: {problem}") from problem
        if found != member.certificate_sha256:
            raise EnrolmentError(
                f"{where}: the certificate of {member.id} is not the one in the roster; ask for a new file."
            )
    return consortium


def sign_draft(keys: MemberKeys, consortium: Consortium, where: str) -> bytes:
    """This hospital's signature file, once its own line in the draft is unchanged. Raises EnrolmentError."""
    if keys.member() not in consortium.roster.hospitals:
        raise EnrolmentError(
            f"{where}: the roster does not list {keys.id} with the keys on this machine; do not sign, call the coordinator."
        )
    return _dump(
        _SignatureFile(
            id=keys.id,
            roster_sha256=consortium.roster.hash.hex(),
            signature=sign_roster(keys.identity_private, consortium.roster).hex(),
        )
    )


def add_signature(consortium: Consortium, data: bytes, where: str) -> Consortium:
    """The consortium with one more signature, verified. Raises EnrolmentError."""
    file = _load(_SignatureFile, data, where)
    if file.id not in consortium.roster:
        raise EnrolmentError(f"{where}: {file.id} is not a hospital of this roster; remove the file.")
    if file.roster_sha256 != consortium.roster.hash.hex():
        raise EnrolmentError(f"{where}: {file.id} signed another roster; send it the newest draft.")
    signature = bytes.fromhex(file.signature)
    try:
        key = consortium.roster.member(file.id).identity_key
        identity.verify(key, label(None, "roster"), consortium.roster.canonical, signature)
    except BadSignature as problem:
        raise EnrolmentError(
            f"{where}: the signature of {file.id} does not verify; ask it to sign again."
        ) from problem
    signatures = {**consortium.signatures, file.id: signature}
    return Consortium(consortium.roster, consortium.certificates, consortium.contacts, signatures)


def trust(consortium: Consortium, where: str) -> TrustedRoster:
    """The trust anchor, if every hospital signed. Raises EnrolmentError."""
    signed = SignedRoster(consortium.roster, dict(sorted(consortium.signatures.items())))
    try:
        verify_signed_roster(signed)
    except RosterError as problem:
        raise EnrolmentError(f"{where}: {problem}.") from problem
    return TrustedRoster(signed, dict(consortium.certificates))


def fingerprints(consortium: Consortium) -> str:
    """What the hospitals compare by phone before they sign: the roster's own fingerprint, then every member's two."""
    lines = [f"roster       {fingerprint_groups(consortium.roster.hash)}"]
    for member in consortium.members:
        expires = read_certificate(consortium.certificates[member.id]).not_after
        lines += [
            "",
            f"{member.role} {member.id}  {consortium.contacts.get(member.id, '')}".rstrip(),
            f"  identity     {fingerprint_groups(member.identity_key)}",
            f"  certificate  {fingerprint_groups(member.certificate_sha256)}",
            f"  expires      {expires:%Y-%m-%d}",
        ]
    return "\n".join(lines)


def _body(unsigned: _EnrolmentFile) -> bytes:
    return canonical(unsigned.model_dump())


def _dump(file: _File) -> bytes:
    return canonical(file.model_dump())


def _load(form: type[_F], data: bytes, where: str) -> _F:
    try:
        return form.model_validate(parse_canonical(data, FILE_BYTES))
    except (NotCanonicalError, ValidationError) as problem:
        raise EnrolmentError(
            f"{where} is not a file of this kind, or it was edited; ask its sender for it again."
        ) from problem

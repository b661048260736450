"""The keys of one member of a consortium: Ed25519 identity, TLS key and self-signed certificate. Bytes in, bytes out; the shells do the files.

Nobody makes a private key for somebody else: each member runs this on its own machine and shows only the public half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from privacy.link.certificates import (
    SECRET_BYTES,
    SERIAL_BYTES,
    Certificate,
    CertificateProblem,
    Role,
    check_enrolled,
    make_certificate,
    read_certificate,
)
from secagg import identity
from secagg.roster import ID_PATTERN, Member
from secagg.secret import SecretBytes

IDENTITY_KEY, TLS_KEY, TLS_CERTIFICATE = "identity.key", "tls.key", "tls.crt"
FILES = (IDENTITY_KEY, TLS_KEY, TLS_CERTIFICATE)
FILE_BYTES = 16 * 1024
ENTROPY_BYTES = 32 + SECRET_BYTES + SERIAL_BYTES


class KeyFileError(Exception):
    """Key files that are missing, readable by others, or do not belong together; one sentence with the remedy."""


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """What one member holds; the private parts show only their length.

    Attributes:
        id, role: as they will stand in the roster.
        identity_private: 32-byte Ed25519 seed.
        identity_public: 32 bytes.
        tls_private: P-256 key, PKCS#8 PEM.
        certificate_pem: the self-signed certificate of that key.
        certificate: what it says.
    """

    id: str
    role: Role
    identity_private: SecretBytes = field(repr=False)
    identity_public: bytes
    tls_private: SecretBytes = field(repr=False)
    certificate_pem: bytes = field(repr=False)
    certificate: Certificate

    def member(self) -> Member:
        """This member's line of the roster."""
        return Member(self.id, self.role, self.identity_public, self.certificate.sha256)


def key_files(member_id: str, role: Role, entropy: bytes, now: datetime, valid_days: int) -> dict[str, bytes]:
    """File name -> content for a new member, out of 96 unpredictable bytes. Raises KeyFileError for an id that a roster refuses."""
    if len(entropy) != ENTROPY_BYTES:
        raise ValueError(f"new keys need {ENTROPY_BYTES} bytes of entropy")
    if not ID_PATTERN.fullmatch(member_id):
        raise KeyFileError(
            f"{member_id!r} cannot be an id: take 1 to 63 lower-case letters, digits, - and _, starting with a letter or digit."
        )
    seed, secret, serial = entropy[:32], entropy[32 : 32 + SECRET_BYTES], entropy[32 + SECRET_BYTES :]
    tls_key, certificate = make_certificate(member_id, role, secret, serial, now, valid_days)
    return {IDENTITY_KEY: seed.hex().encode() + b"\n", TLS_KEY: tls_key, TLS_CERTIFICATE: certificate}


def read_key_files(files: Mapping[str, bytes], role: Role) -> MemberKeys:
    """The keys in the contents of the three files. Raises KeyFileError; no message quotes a key."""
    try:
        seed = SecretBytes(bytes.fromhex(files[IDENTITY_KEY].decode("ascii").strip()))
    except ValueError:
        raise KeyFileError(
            f"{IDENTITY_KEY} is damaged: restore it from the offline copy or make new keys."
        ) from None
    if len(seed) != 32:
        raise KeyFileError(f"{IDENTITY_KEY} is damaged: restore it from the offline copy or make new keys.")
    pem = files[TLS_CERTIFICATE]
    try:
        certificate = read_certificate(pem)
        check_enrolled(pem, certificate.common_name, role)
    except CertificateProblem as problem:
        raise KeyFileError(f"{TLS_CERTIFICATE}: {problem}") from problem
    if _public_of_key(files[TLS_KEY]) != certificate.public_key:
        raise KeyFileError(
            f"{TLS_KEY} does not belong to {TLS_CERTIFICATE}: restore both from one copy or make new keys."
        )
    return MemberKeys(
        id=certificate.common_name,
        role=role,
        identity_private=seed,
        identity_public=identity.public_key(seed),
        tls_private=SecretBytes(files[TLS_KEY]),
        certificate_pem=pem,
        certificate=certificate,
    )


def check_mode(name: str, mode: int) -> None:
    """Refuse a private key file that the group or others may read, write or run. `mode` is st_mode. Raises KeyFileError."""
    if mode & 0o077:
        raise KeyFileError(
            f"{name} is open to other users (mode {mode & 0o777:04o}): run `chmod 600 {name}` and consider making new keys."
        )


def _public_of_key(pem: bytes) -> bytes:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyFileError(
            f"{TLS_KEY} is damaged: restore it from the offline copy or make new keys."
        ) from None
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

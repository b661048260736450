"""Self-signed P-256 certificates pinned by a roster: made, described and judged without touching a file, a clock or a socket.

There is no certificate authority. A certificate is good because its SHA-256 stands in the roster that every hospital signed, and for no other
reason; names inside it serve the operator who reads it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Literal

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Role = Literal["hospital", "coordinator"]

# Order of the P-256 base point, SEC 2 (version 2.0), section 2.4.2.
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SECRET_BYTES = 48
SERIAL_BYTES = 16
# A peer whose clock is behind must still accept a certificate made a moment ago.
CLOCK_SKEW = timedelta(days=1)
EXPIRY_WARNING = timedelta(days=30)


class CertificateProblem(Exception):
    """A certificate that cannot stand in a roster or cannot be used now; one sentence with the remedy."""

    def __init__(
        self, kind: Literal["malformed", "wrong_kind", "expired", "not_yet_valid"], sentence: str
    ) -> None:
        super().__init__(sentence)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class Certificate:
    """What this project needs to know of a certificate.

    Attributes:
        sha256: over the DER bytes, the fingerprint that a roster pins.
        public_key: DER SubjectPublicKeyInfo.
        common_name: the member's id.
        not_before, not_after: UTC.
    """

    sha256: bytes
    public_key: bytes
    common_name: str
    not_before: datetime
    not_after: datetime


def tls_name(role: Role) -> str:
    """The DNS name in the certificate, the same for every member of a role: gRPC insists on one, the pin is what decides."""
    return f"{role}.wardround.internal"


def make_certificate(
    member_id: str, role: Role, secret: bytes, serial: bytes, now: datetime, valid_days: int
) -> tuple[bytes, bytes]:
    """TLS key (PKCS#8 PEM) and self-signed certificate (PEM) out of fresh entropy.

    Args:
        secret: 48 unpredictable bytes; 128 bits more than the order, so that the reduction leaves no bias that matters.
        serial: 16 unpredictable bytes.
        now: wall clock, UTC; the certificate is valid from a day before it.

    Source: FIPS 186-5, appendix A.2.1 (extra random bits); RFC 5280, section 4.
    """
    if len(secret) != SECRET_BYTES or len(serial) != SERIAL_BYTES:
        raise ValueError(f"make_certificate needs {SECRET_BYTES} secret and {SERIAL_BYTES} serial bytes")
    key = ec.derive_private_key(int.from_bytes(secret) % (P256_ORDER - 1) + 1, ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, member_id)])
    usage = ExtendedKeyUsageOID.SERVER_AUTH if role == "coordinator" else ExtendedKeyUsageOID.CLIENT_AUTH
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(serial) >> 1 | 1)
        .not_valid_before(now - CLOCK_SKEW)
        .not_valid_after(now + timedelta(days=valid_days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(tls_name(role))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, certificate.public_bytes(serialization.Encoding.PEM)


def read_certificate(pem: bytes) -> Certificate:
    """The first certificate in `pem`. Raises CertificateProblem (malformed)."""
    return _describe(_parse(pem))


def read_der(der: bytes) -> Certificate:
    """As `read_certificate`, from DER bytes."""
    try:
        return _describe(x509.load_der_x509_certificate(der))
    except ValueError as problem:
        raise CertificateProblem(
            "malformed", "The certificate is not a readable X.509 certificate."
        ) from problem


def check_enrolled(pem: bytes, member_id: str, role: Role) -> Certificate:
    """A certificate that may enter a roster, or CertificateProblem.

    It must be self-signed P-256, carry the member's id and the role's name, and must not be a certificate authority: as a trust root such a
    one could vouch for others.
    """
    certificate = _parse(pem)
    key = certificate.public_key()
    remedy = f"make new keys for {member_id} with `init` and enrol again."
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateProblem("wrong_kind", f"The certificate's key is not on the curve P-256: {remedy}")
    try:
        certificate.verify_directly_issued_by(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (InvalidSignature, ValueError, TypeError) as problem:
        raise CertificateProblem(
            "wrong_kind", f"The certificate is not signed by itself: {remedy}"
        ) from problem
    except x509.ExtensionNotFound as problem:
        raise CertificateProblem(
            "wrong_kind", f"The certificate lacks a mandatory extension: {remedy}"
        ) from problem
    usage = ExtendedKeyUsageOID.SERVER_AUTH if role == "coordinator" else ExtendedKeyUsageOID.CLIENT_AUTH
    described = _describe(certificate)
    if constraints.ca:
        raise CertificateProblem(
            "wrong_kind", f"The certificate is a certificate authority's, not a member's: {remedy}"
        )
    if described.common_name != member_id:
        raise CertificateProblem("wrong_kind", f"The certificate names another member: {remedy}")
    if names.get_values_for_type(x509.DNSName) != [tls_name(role)] or list(usages) != [usage]:
        raise CertificateProblem("wrong_kind", f"The certificate is not made for the role {role}: {remedy}")
    return described


def check_valid_at(certificate: Certificate, now: datetime, owner: str) -> None:
    """Raises CertificateProblem (expired, not_yet_valid) with the date; `owner` is how the sentence names whose it is."""
    if now > certificate.not_after:
        raise CertificateProblem(
            "expired",
            f"The certificate of {owner} expired on {certificate.not_after:%Y-%m-%d %H:%M} UTC (it is {now:%Y-%m-%d %H:%M} here): "
            f"make new keys with `init`, enrol them, and have the new roster signed.",
        )
    if now < certificate.not_before:
        raise CertificateProblem(
            "not_yet_valid",
            f"The certificate of {owner} is valid from {certificate.not_before:%Y-%m-%d %H:%M} UTC but it is {now:%Y-%m-%d %H:%M} here: "
            f"check the clocks of both machines.",
        )


def expires_soon(certificate: Certificate, now: datetime) -> bool:
    """True in the last 30 days, when a new certificate should be enrolled."""
    return certificate.not_after - now <= EXPIRY_WARNING


def fingerprint_groups(digest: bytes) -> str:
    """A SHA-256 as upper-case hexadecimal in groups of four, to be read out over the phone."""
    text = digest.hex().upper()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def _parse(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError as problem:
        raise CertificateProblem(
            "malformed", "The certificate is not a readable PEM certificate."
        ) from problem


def _describe(certificate: x509.Certificate) -> Certificate:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return Certificate(
        sha256=sha256(certificate.public_bytes(serialization.Encoding.DER)).digest(),
        public_key=certificate.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
        common_name=str(names[0].value) if names else "",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )

"""Certificates: what is made, what may enter a roster, how fingerprints read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from privacy.link.certificates import (
    P256_ORDER,
    CertificateProblem,
    Role,
    check_enrolled,
    expires_soon,
    fingerprint_groups,
    make_certificate,
    read_certificate,
    tls_name,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def other(
    *, curve: ec.EllipticCurve | None = None, ca: bool = False, usage: bool = True, self_signed: bool = True
) -> bytes:
    """A certificate for hospital north that is wrong in one way."""
    key = ec.generate_private_key(curve or ec.SECP256R1())
    signer = key if self_signed else ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "north")])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(tls_name("hospital"))]), critical=False)
    )
    if usage:
        builder = builder.add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
    return builder.sign(signer, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_the_curve_order_is_the_curve_s() -> None:
    """The largest private key is order - 1; one more is refused by the library."""
    ec.derive_private_key(P256_ORDER - 1, ec.SECP256R1())
    with pytest.raises(ValueError):
        ec.derive_private_key(P256_ORDER, ec.SECP256R1())


def test_a_made_certificate_may_enter_a_roster() -> None:
    key_pem, pem = make_certificate("north", "hospital", bytes(range(48)), bytes(range(16)), NOW, 30)
    described = check_enrolled(pem, "north", "hospital")
    assert (described.common_name, described.not_after) == ("north", NOW + timedelta(days=30))
    key = serialization.load_pem_private_key(key_pem, None)
    assert (
        key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        == described.public_key
    )
    assert not expires_soon(described, NOW - timedelta(seconds=1))
    assert expires_soon(described, NOW)


def test_the_same_entropy_makes_the_same_key_and_other_entropy_another() -> None:
    first, _ = make_certificate("north", "hospital", bytes(48), bytes(16), NOW, 30)
    again, _ = make_certificate("south", "hospital", bytes(48), bytes(16), NOW, 30)
    different, _ = make_certificate("north", "hospital", bytes(47) + b"\1", bytes(16), NOW, 30)
    assert first == again
    assert first != different


@pytest.mark.parametrize(
    ("pem", "member_id", "role", "words"),
    [
        (other(curve=ec.SECP384R1()), "north", "hospital", "not on the curve P-256"),
        (other(ca=True), "north", "hospital", "certificate authority"),
        (other(usage=False), "north", "hospital", "lacks a mandatory extension"),
        (other(self_signed=False), "north", "hospital", "not signed by itself"),
        (other(), "south", "hospital", "names another member"),
        (other(), "north", "coordinator", "not made for the role coordinator"),
        (
            b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----\n",
            "north",
            "hospital",
            "not a readable PEM",
        ),
    ],
)
def test_what_may_not_enter_a_roster(pem: bytes, member_id: str, role: Role, words: str) -> None:
    with pytest.raises(CertificateProblem, match=words):
        check_enrolled(pem, member_id, role)


def test_the_certificate_that_those_differ_from_does_enter() -> None:
    pem = other()
    assert check_enrolled(pem, "north", "hospital") == read_certificate(pem)


def test_fingerprints_read_in_groups() -> None:
    assert fingerprint_groups(bytes.fromhex("00ff12ab")) == "00FF 12AB"

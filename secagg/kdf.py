"""HKDF with SHA-256 (RFC 5869), always under a label of `secagg.context`."""

from __future__ import annotations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from secagg.secret import SecretBytes


def extract_and_expand(secret: SecretBytes, label: bytes, length: int = 32) -> SecretBytes:
    """HKDF of input key material that need not be uniform, such as an X25519 output."""
    return SecretBytes(HKDF(SHA256(), length, salt=None, info=label).derive(secret.reveal()))


def expand(key: SecretBytes, label: bytes, length: int = 32) -> SecretBytes:
    """HKDF-Expand of a uniform key; different labels give independent outputs."""
    return SecretBytes(HKDFExpand(SHA256(), length, info=label).derive(key.reveal()))

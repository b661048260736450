"""The keys of one member of a consortium: Ed25519 identity, TLS key and self-signed certificate. Bytes in, bytes out; the shells do the files."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MemberKeys:
    """What one member holds. The private parts never show in a repr.

    `identity_seed` is the 32-byte Ed25519 seed, `tls_key_pem` the PKCS#8 P-256 key, `certificate_pem` its self-signed certificate.
    """

    id: str
    role: str
    identity_seed: bytes = field(repr=False)
    identity_public: bytes
    tls_key_pem: bytes = field(repr=False)
    certificate_pem: bytes

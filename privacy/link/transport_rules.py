"""The rules of the link that both ends share: how gRPC is told to speak TLS 1.3 alone, who may connect, how often one tries again.

grpc-python has no setting for a least TLS version. Its cipher list concerns TLS 1.2 and below only; a list of suites that need an RSA
certificate, together with P-256 certificates, leaves TLS 1.2 without a common suite and TLS 1.3 untouched. The admission rule checks the version
that was negotiated once more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

from privacy.link.certificates import CertificateProblem, Role, check_valid_at, read_certificate
from privacy.link.framing import FRAME_BYTES

SERVICE = "wardround.Link"
METHOD = "Connect"
TLS_VERSION = b"TLSv1.3"

CIPHER_SUITES = "ECDHE-RSA-AES128-GCM-SHA256:ECDHE-RSA-AES256-GCM-SHA384"
REPLACED = "Replaced: a newer connection with the same certificate took over."

HELLO_DEADLINE_S = 10.0
KEEPALIVE_S = 10.0
KEEPALIVE_REPLY_S = 5.0
HANDSHAKE_DEADLINE_S = 10.0

_BOTH_ENDS: tuple[tuple[str, int | str], ...] = (
    # Refused by the length prefix, before gRPC allocates.
    ("grpc.max_receive_message_length", FRAME_BYTES),
    ("grpc.max_send_message_length", FRAME_BYTES),
    ("grpc.keepalive_time_ms", int(KEEPALIVE_S * 1000)),
    ("grpc.keepalive_timeout_ms", int(KEEPALIVE_REPLY_S * 1000)),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
)
SERVER_OPTIONS: tuple[tuple[str, int | str], ...] = (
    *_BOTH_ENDS,
    ("grpc.http2.min_ping_interval_without_data_ms", int(KEEPALIVE_S * 500)),
    ("grpc.server_handshake_timeout_ms", int(HANDSHAKE_DEADLINE_S * 1000)),
    ("grpc.max_concurrent_streams", 1),
    ("grpc.max_metadata_size", 8192),
    # Two coordinators must not share a port by accident.
    ("grpc.so_reuseport", 0),
)
CLIENT_OPTIONS: tuple[tuple[str, int | str], ...] = (
    *_BOTH_ENDS,
    # Each attempt of the link is one attempt of gRPC: the link does the waiting, and says why.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_retries", 0),
    ("grpc.service_config_disable_resolution", 1),
)


def grpc_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What must stand in the environment before grpc is imported.

    gRPC's core would write to the terminal what the link says in a sentence, so it is silent unless the operator wants it otherwise.
    """
    return {
        "GRPC_SSL_CIPHER_SUITES": CIPHER_SUITES,
        "GRPC_VERBOSITY": environment.get("GRPC_VERBOSITY", "NONE"),
    }


@dataclass(frozen=True, slots=True)
class Pin:
    """One line of the roster as the link needs it: who stands behind a certificate's SHA-256."""

    member: str
    role: Role


class AddressError(ValueError):
    """What somebody wrote is no host:port."""


class NotAdmitted(Exception):
    """A connection refused at the door; the sentence goes to the peer, so that its operator can act on it."""

    def __init__(self, kind: Literal["tls", "unknown", "role", "expired"], sentence: str) -> None:
        super().__init__(sentence)
        self.kind = kind


def admit(
    pins: Mapping[bytes, Pin], wanted: Role, tls_version: bytes, certificate_pem: bytes, now: datetime
) -> str:
    """The id of the member that connected, known by its certificate and by nothing it says.

    Args:
        pins: SHA-256 of the certificate's DER -> member.
        wanted: the role that may connect here.
        tls_version: as the TLS library reports it, for instance b"TLSv1.3".
        certificate_pem: the peer's own certificate.

    Raises: NotAdmitted.
    """
    if tls_version != TLS_VERSION:
        raise NotAdmitted(
            "tls",
            f"Refused: the connection speaks {tls_version.decode('ascii', 'replace')}, only TLSv1.3 is allowed.",
        )
    try:
        certificate = read_certificate(certificate_pem)
    except CertificateProblem as problem:
        raise NotAdmitted("unknown", f"Refused: {problem}") from problem
    pin = pins.get(certificate.sha256)
    if pin is None:
        raise NotAdmitted(
            "unknown",
            f"Refused: the certificate with SHA-256 {certificate.sha256.hex()[:16]}... is not in the roster; "
            f"enrol it and have the new roster signed.",
        )
    if pin.role != wanted:
        raise NotAdmitted(
            "role", f"Refused: {pin.member} is in the roster as {pin.role}, only a {wanted} may connect here."
        )
    try:
        check_valid_at(certificate, now, pin.member)
    except CertificateProblem as problem:
        raise NotAdmitted("expired", f"Refused: {problem}") from problem
    return pin.member


def reconnect_delay_s(attempt: int, member_id: str) -> float:
    """Seconds before attempt 1, 2, ...: 0.1 s doubling up to 10 s, shifted by up to half by the id so that hospitals do not come all at once."""
    spread = sha256(member_id.encode()).digest()[0] / 255
    return min(0.1 * 2.0 ** min(attempt - 1, 10), 10.0) * (1.0 - 0.5 * spread)


def split_address(address: str) -> tuple[str, int]:
    """Host and port of "host:port" or "[v6]:port". Raises AddressError with the remedy."""
    host, colon, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not host or "/" in host or not port.isdecimal() or not int(port) < 65536:
        raise AddressError(
            f"{address!r} is not an address: write host:port, for instance coordinator.example.org:7443."
        )
    return host, int(port)

"""Why the hospital does not reach its coordinator, found by trying step by step what gRPC reports in one word."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_address
from typing import Literal

from privacy.link.certificates import CertificateProblem, check_valid_at, fingerprint_groups, read_der
from privacy.link.member_keys import MemberKeys
from privacy.link.transport_rules import Pin

PROBE_S = 3.0
PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")

Kind = Literal[
    "own_certificate",
    "name_resolution",
    "port_closed",
    "proxy",
    "not_tls",
    "wrong_coordinator",
    "coordinator_expired",
    "own_certificate_refused",
    "refused",
    "replaced",
    "lost",
]


class ConnectProblem(Exception):
    """Why the hospital is not connected, in one sentence with the remedy; `fatal` says that waiting cannot help."""

    exit_code = 3

    def __init__(self, kind: Kind, sentence: str, *, fatal: bool = False) -> None:
        super().__init__(sentence)
        self.kind = kind
        self.fatal = fatal


def is_loopback(host: str) -> bool:
    """True for this machine's own names; they are never reached through a proxy."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_own(keys: MemberKeys, pins: Mapping[bytes, Pin], now: datetime) -> None:
    """What can be known before dialing. Raises ConnectProblem (own_certificate)."""
    pin = pins.get(keys.certificate.sha256)
    if pin is None or pin.member != keys.id:
        raise ConnectProblem(
            "own_certificate",
            f"The keys of {keys.id} on this machine are not in the roster: enrol them and have the new roster signed.",
            fatal=True,
        )
    if pin.role != "hospital":
        raise ConnectProblem(
            "own_certificate",
            f"{keys.id} is in the roster as {pin.role}: a hospital's link needs a hospital's keys.",
            fatal=True,
        )
    try:
        check_valid_at(keys.certificate, now, f"this hospital ({keys.id})")
    except CertificateProblem as problem:
        raise ConnectProblem("own_certificate", str(problem), fatal=True) from problem


def diagnose(
    host: str, port: int, keys: MemberKeys, pins: Mapping[bytes, Pin], now: datetime
) -> ConnectProblem:
    """The first step that fails on the way to the coordinator, with its remedy.

    Speaks TLS without a client certificate and trusts nothing of what it sees; it takes at most a few seconds.
    """
    where = f"{host}:{port}"
    proxy = next((name for name in PROXY_VARIABLES if os.environ.get(name)), None)
    if proxy is not None and not is_loopback(host):
        return ConnectProblem(
            "proxy",
            f"The coordinator {where} was not reached through the proxy named in {proxy}: have the proxy allow CONNECT to it, "
            f"or list {host} in no_proxy.",
        )
    try:
        raw = socket.create_connection((host, port), PROBE_S)
    except socket.gaierror:
        return ConnectProblem(
            "name_resolution", f"The name {host} is not known here: check the address and this machine's DNS."
        )
    except ConnectionRefusedError:
        return ConnectProblem(
            "port_closed",
            f"Nobody listens on {where}: check the address, or wait until the coordinator runs.",
        )
    except OSError as problem:
        return ConnectProblem(
            "port_closed", f"{where} does not answer ({problem}): have the firewall allow this outbound port."
        )
    with raw:
        return _judge_tls(where, raw, keys, pins, now)


def _judge_tls(
    where: str, raw: socket.socket, keys: MemberKeys, pins: Mapping[bytes, Pin], now: datetime
) -> ConnectProblem:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    # The pin decides, below; this connection carries nothing.
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    try:
        with context.wrap_socket(raw) as tls:
            der = tls.getpeercert(binary_form=True) or b""
    except OSError:
        return ConnectProblem(
            "not_tls",
            f"What answers on {where} does not speak TLS 1.3: check the port, or a firewall that intercepts TLS.",
        )
    try:
        certificate = read_der(der)
    except CertificateProblem:
        return ConnectProblem(
            "wrong_coordinator", f"{where} shows no readable certificate: check the address."
        )
    pin = pins.get(certificate.sha256)
    if pin is None or pin.role != "coordinator":
        who = (
            "a certificate that is not in the roster"
            if pin is None
            else f"the certificate of hospital {pin.member}"
        )
        return ConnectProblem(
            "wrong_coordinator",
            f"{where} shows {who} (SHA-256 {certificate.sha256.hex()[:16]}...), not the coordinator's: check the address, "
            f"or a firewall that intercepts TLS, or ask for the newest roster.",
        )
    try:
        check_valid_at(certificate, now, "the coordinator")
    except CertificateProblem as problem:
        return ConnectProblem("coordinator_expired", str(problem))
    return ConnectProblem(
        "own_certificate_refused",
        f"The coordinator at {where} closed the connection on seeing the certificate of {keys.id}: its roster does not hold it, or "
        f"its clock says that it expired; compare over the phone: {fingerprint_groups(keys.certificate.sha256)}.",
    )

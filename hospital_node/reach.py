"""The way to the coordinator, one step a function: name, port (or proxy), TLS, certificate, HTTP/2.

Each returns what it found or raises the `ConnectProblem` of its step. They speak TLS without a client certificate and trust nothing of
what they see; each waits a few seconds at most for the network, and what the resolver takes for a name.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hospital_node.connect_problem import ConnectProblem
from hospital_node.proxy_route import Route
from privacy.link.certificates import Certificate, CertificateProblem, check_valid_at, read_der
from privacy.link.transport_rules import Pin

PROBE_S = 3.0
# Of a proxy's answer; what it says beyond is a page for a browser.
ANSWER_BYTES = 1 << 14
HTTP2 = "h2"
_OLD_TLS = frozenset(
    {"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "SSLV3_ALERT_HANDSHAKE_FAILURE"}
)
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNEXPECTED_MESSAGE"})


@dataclass(frozen=True, slots=True)
class Shown:
    """What the other side of a TLS 1.3 handshake showed: certificate (DER) and the protocol it took up, "" for none."""

    der: bytes
    protocol: str


def resolve(route: Route) -> tuple[str, ...]:
    """Addresses of the first hop. Raises ConnectProblem (name_resolution, proxy)."""
    host, port = route.first_hop
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as problem:
        if route.proxy is not None:
            raise ConnectProblem(
                "proxy",
                f"The name of the proxy {route.proxy.shown}, from {route.proxy.variable}, is not known here",
                "correct the variable, or this machine's DNS",
            ) from problem
        raise ConnectProblem(
            "name_resolution",
            f"The name {host} is not known here",
            "check the address and this machine's DNS",
        ) from problem
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def dial(route: Route) -> socket.socket:
    """A connection to the coordinator's port, or to it through the proxy. Raises ConnectProblem (port_closed, proxy)."""
    host, port = route.first_hop
    try:
        raw = socket.create_connection((host, port), PROBE_S)
    except (OSError, UnicodeError) as problem:
        raise _not_reached(route, problem) from problem
    if route.proxy is None:
        return raw
    try:
        _ask_proxy(route, raw)
    except BaseException:
        raw.close()
        raise
    return raw


def _not_reached(route: Route, problem: OSError | UnicodeError) -> ConnectProblem:
    if route.proxy is not None:
        return ConnectProblem(
            "proxy",
            f"The proxy {route.proxy.shown} named in {route.proxy.variable} does not answer ({_reason(problem)})",
            f"correct the variable, or list {route.host} in no_proxy if no proxy is needed",
        )
    if isinstance(problem, ConnectionRefusedError):
        return ConnectProblem(
            "port_closed",
            f"Nobody listens on {route.where}",
            "check the address, or wait until the coordinator runs (it listens only while `wardround-coordinator run` does)",
        )
    return ConnectProblem(
        "port_closed",
        f"{route.where} does not answer ({_reason(problem)})",
        "have the firewall allow this outbound port, if the address is right",
    )


def _reason(problem: Exception) -> str:
    if isinstance(problem, TimeoutError):
        return f"nothing within {PROBE_S:g} s"
    return (problem.strerror or "") if isinstance(problem, OSError) else type(problem).__name__


def _ask_proxy(route: Route, raw: socket.socket) -> None:
    assert route.proxy is not None
    name = f"The proxy named in {route.proxy.variable}"
    lines = [f"CONNECT {route.where} HTTP/1.1", f"Host: {route.where}"]
    if route.proxy.authorization:
        lines.append(f"Proxy-Authorization: {route.proxy.authorization}")
    try:
        raw.sendall("\r\n".join((*lines, "", "")).encode())
        answer, end_s = b"", time.monotonic() + PROBE_S
        # Byte by byte: what follows the empty line belongs to the handshake.
        while not answer.endswith(b"\r\n\r\n") and len(answer) < ANSWER_BYTES:
            # In all, however slowly it comes.
            raw.settimeout(max(end_s - time.monotonic(), 1e-3))
            piece = raw.recv(1)
            if not piece:
                break
            answer += piece
        raw.settimeout(PROBE_S)
    except OSError as problem:
        raise ConnectProblem(
            "proxy",
            f"{name} does not answer to CONNECT {route.where} ({_reason(problem)})",
            f"have it allow CONNECT to that address, or list {route.host} in no_proxy",
        ) from problem
    words = answer.split(b"\r\n", 1)[0].split()
    status = words[1].decode("ascii", "replace") if len(words) > 1 and words[0].startswith(b"HTTP/") else ""
    if status.startswith("2"):
        return
    if status == "407":
        raise ConnectProblem(
            "proxy",
            f"{name} asks for a user and a password (407)",
            f"write them into {route.proxy.variable} as http://user:password@host:port, if it takes Basic authentication",
        )
    shown = status if len(status) == 3 and status.isdecimal() else "no HTTP answer"
    raise ConnectProblem(
        "proxy",
        f"{name} does not lead to {route.where} ({shown})",
        f"have it allow CONNECT to that address, or list {route.host} in no_proxy",
    )


def shake_hands(where: str, raw: socket.socket) -> Shown:
    """A TLS 1.3 handshake over a fresh connection, which it ends. Raises ConnectProblem (not_tls)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    # The pin decides, in `judge_certificate`; this connection carries nothing.
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols([HTTP2])
    try:
        with context.wrap_socket(raw) as tls:
            return Shown(tls.getpeercert(binary_form=True) or b"", tls.selected_alpn_protocol() or "")
    except OSError as problem:
        raise _no_handshake(where, problem) from problem


def _no_handshake(where: str, problem: OSError) -> ConnectProblem:
    reason = (problem.reason or "") if isinstance(problem, ssl.SSLError) else ""
    interception = "check the port, or ask for an exception where a firewall intercepts TLS"
    if isinstance(problem, TimeoutError):
        return ConnectProblem(
            "not_tls",
            f"{where} takes the connection and then says nothing for {PROBE_S:g} s, so it does not speak TLS 1.3",
            "check the port, then the firewall or load balancer in between, which may take connections for a machine that is down",
        )
    if reason in _OLD_TLS:
        return ConnectProblem(
            "not_tls",
            f"What answers on {where} speaks TLS 1.2 or older, and the link does not speak TLS other than 1.3",
            interception,
        )
    if reason in _NOT_TLS:
        return ConnectProblem(
            "not_tls",
            f"What answers on {where} does not speak TLS 1.3, nor any other (a web server perhaps)",
            interception,
        )
    return ConnectProblem(
        "not_tls",
        f"What answers on {where} does not speak TLS 1.3, it ended the handshake",
        interception,
    )


def judge_certificate(where: str, shown: Shown, pins: Mapping[bytes, Pin], now: datetime) -> Certificate:
    """The coordinator's certificate, if it is the one that the roster pins. Raises ConnectProblem (wrong_coordinator, coordinator_expired)."""
    try:
        certificate = read_der(shown.der)
    except CertificateProblem as problem:
        raise ConnectProblem(
            "wrong_coordinator", f"{where} shows no readable certificate", "check the address"
        ) from problem
    pin = pins.get(certificate.sha256)
    if pin is None or pin.role != "coordinator":
        who = (
            "a certificate that is not in the roster"
            if pin is None
            else f"the certificate of hospital {pin.member}"
        )
        raise ConnectProblem(
            "wrong_coordinator",
            f"{where} shows {who} (SHA-256 {certificate.sha256.hex()[:16]}...), not the coordinator's",
            "check the address, or a firewall that intercepts TLS, or ask for the newest roster",
        )
    try:
        check_valid_at(certificate, now, "the coordinator")
    except CertificateProblem as problem:
        raise ConnectProblem("coordinator_expired", str(problem)) from problem
    return certificate


def judge_protocol(where: str, shown: Shown) -> None:
    """Raises ConnectProblem (no_http2) unless the other side took up HTTP/2."""
    if shown.protocol != HTTP2:
        raise ConnectProblem(
            "no_http2",
            f"{where} speaks TLS 1.3 but not HTTP/2, which the link needs",
            "check the port, or have a proxy in between pass the connection on unopened",
        )

"""Who may open a stream: TLS 1.3 with a certificate of the roster, the right role and a date that holds; everybody else is told why not."""

from __future__ import annotations

import dataclasses
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from coordinator.link import Connected, Disconnected, LinkServer
from privacy.link.certificates import read_certificate, tls_name
from privacy.link.framing import Hello
from privacy.link.member_keys import MemberKeys
from privacy.link.roster_file import TrustedRoster
from privacy.link.transport_rules import METHOD, SERVICE
from secagg.roster import Roster, SignedRoster
from tests.process.link_setup import (
    Consortium,
    FixedClock,
    hospital_process,
    make_consortium,
    wait_for,
    why_not,
)

NOW = datetime.now(UTC)


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return make_consortium(tmp_path_factory.mktemp("consortium"))


@pytest.fixture(scope="module")
def port(consortium: Consortium) -> Iterator[int]:
    server = LinkServer("127.0.0.1:0", consortium.coordinator_keys, consortium.roster)
    yield server.start()
    server.stop()


def raw_tls(port: int, version: ssl.TLSVersion, folder: Path | None) -> bytes:
    """Speak one TLS version and HTTP/2 to the port; the first bytes that come back, empty when the server hangs up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    context.minimum_version = context.maximum_version = version
    # The widest choice of suites that the client's library has.
    context.set_ciphers("ALL:@SECLEVEL=0")
    if folder is not None:
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    with socket.create_connection(("127.0.0.1", port), 5) as raw, context.wrap_socket(raw) as tls:
        tls.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        return tls.recv(100)


def call_with(port: int, key: bytes, chain: bytes, root: bytes) -> tuple[grpc.StatusCode, str]:
    """Open the stream with any certificate, past our own client's checks; status and details."""
    credentials = grpc.ssl_channel_credentials(root, key, chain)
    options = [("grpc.ssl_target_name_override", tls_name("coordinator")), ("grpc.enable_http_proxy", 0)]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        call = channel.stream_stream(f"/{SERVICE}/{METHOD}")(
            iter([Hello(os.urandom(16), None, 0).encode()]), timeout=5
        )
        try:
            next(call)
        except grpc.RpcError:
            return call.code(), call.details()
    return grpc.StatusCode.OK, ""


def test_tls_1_3_is_spoken(consortium: Consortium, port: int) -> None:
    assert raw_tls(port, ssl.TLSVersion.TLSv1_3, consortium.folder / "north")[3:4] == b"\x04"


def test_tls_1_2_is_refused(consortium: Consortium, port: int) -> None:
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        raw_tls(port, ssl.TLSVersion.TLSv1_2, consortium.folder / "north")


@pytest.mark.parametrize("first", ["coordinator.link", "grpc"])
def test_the_link_does_not_start_when_grpc_was_imported_too_early(consortium: Consortium, first: str) -> None:
    """The control of the control: gRPC that was not told of the cipher suites would take up TLS 1.2, and `start` notices."""
    program = (
        f"import {first}, grpc, sys\n"
        "from pathlib import Path\n"
        "from coordinator import enrolment, keys\n"
        "from coordinator.link import LinkServer, ListenError\n"
        "folder = Path(sys.argv[1])\n"
        "server = LinkServer('127.0.0.1:0', keys.load(folder), enrolment.load_roster(folder))\n"
        "try:\n"
        "    server.start()\n"
        "except ListenError as problem:\n"
        "    print(problem)\n"
        "server.stop()\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "GRPC_SSL_CIPHER_SUITES"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(consortium.folder / "coordinator")],
        capture_output=True,
        text=True,
        env=environment,
        timeout=20,
        check=True,
    )
    assert ("would take up TLS 1.2" in done.stdout) == (first == "grpc")


def test_the_hospital_refuses_a_server_that_speaks_tls_1_2(consortium: Consortium) -> None:
    """Even one with the coordinator's own key and certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    folder = consortium.folder / "coordinator"
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    context.set_alpn_protocols(["h2"])
    came: list[bytes] = []

    def serve(listener: socket.socket) -> None:
        while True:
            try:
                with context.wrap_socket(listener.accept()[0], server_side=True) as tls:
                    came.append(tls.recv(100))
            except ssl.SSLError:
                continue
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        address = f"127.0.0.1:{listener.getsockname()[1]}"
        assert why_not(consortium.hospital_keys["north"], consortium.roster, address).kind == "not_tls"
        listener.shutdown(socket.SHUT_RDWR)
    assert came == []


def test_plaintext_is_refused(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), 5) as raw:
        raw.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
        try:
            answer = raw.recv(100)
        except ConnectionResetError:
            answer = b""
    # Nothing, or a TLS alert (record type 21), but no HTTP/2 settings frame.
    assert answer == b"" or answer[0] == 21
    with grpc.insecure_channel(f"127.0.0.1:{port}", [("grpc.enable_http_proxy", 0)]) as channel:
        with pytest.raises(grpc.RpcError) as refused:
            next(channel.stream_stream(f"/{SERVICE}/{METHOD}")(iter([b"x"]), timeout=5))
        assert refused.value.code() == grpc.StatusCode.UNAVAILABLE


def test_no_client_certificate_is_refused(port: int) -> None:
    try:
        answer = raw_tls(port, ssl.TLSVersion.TLSv1_3, None)
    except (ssl.SSLError, ConnectionResetError):
        answer = b""
    assert answer == b""


def test_a_certificate_that_is_not_in_the_roster_is_refused(
    consortium: Consortium, port: int, tmp_path: Path
) -> None:
    stranger = make_consortium(tmp_path)
    code, _ = call_with(
        port,
        stranger.hospital_keys["north"].tls_private.reveal(),
        stranger.hospital_keys["north"].certificate_pem,
        consortium.coordinator_keys.certificate_pem,
    )
    assert code == grpc.StatusCode.UNAVAILABLE
    # What its operator reads, when it has the coordinator's certificate and a newer roster than the coordinator:
    newer = with_certificate(consortium.roster, "north", stranger.hospital_keys["north"])
    problem = why_not(stranger.hospital_keys["north"], newer, f"127.0.0.1:{port}")
    assert problem.kind == "own_certificate_refused"
    assert "its roster does not hold it" in str(problem)
    assert re.search(r"([0-9A-F]{4} ){15}[0-9A-F]{4}", str(problem))
    # ... and when its own roster does not hold its keys:
    problem = why_not(stranger.hospital_keys["north"], consortium.roster, f"127.0.0.1:{port}")
    assert (problem.kind, problem.fatal) == ("own_certificate", True)
    assert "not in the roster" in str(problem)


def test_a_certificate_issued_by_a_member_is_refused(consortium: Consortium) -> None:
    """TLS trusts the roster's certificates as roots, so a member that smuggled in a certificate authority could vouch for others: the pin decides."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "north")])
    authority, child = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())

    def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, ca: bool) -> bytes:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca, None), critical=True)
            .sign(authority, hashes.SHA256())
            .public_bytes(serialization.Encoding.PEM)
        )

    root = certificate(name, authority, True)
    leaf = certificate(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "south")]), child, False)
    fake = dataclasses.replace(
        consortium.hospital_keys["north"], certificate_pem=root, certificate=read_certificate(root)
    )
    server = LinkServer(
        "127.0.0.1:0", consortium.coordinator_keys, with_certificate(consortium.roster, "north", fake)
    )
    port = server.start()
    try:
        key = child.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        code, details = call_with(port, key, leaf + root, consortium.coordinator_keys.certificate_pem)
    finally:
        server.stop()
    assert code == grpc.StatusCode.PERMISSION_DENIED
    assert "is not in the roster" in details


def test_the_wrong_role_is_refused(consortium: Consortium, port: int) -> None:
    own = consortium.coordinator_keys
    code, details = call_with(port, own.tls_private.reveal(), own.certificate_pem, own.certificate_pem)
    assert code == grpc.StatusCode.PERMISSION_DENIED
    assert (
        details == "Refused: coordinator is in the roster as coordinator, only a hospital may connect here."
    )
    problem = why_not(own, consortium.roster, f"127.0.0.1:{port}")
    assert (problem.kind, problem.fatal) == ("own_certificate", True)
    assert "in the roster as coordinator" in str(problem)


def test_a_hospital_that_poses_as_the_coordinator_is_refused(consortium: Consortium) -> None:
    """A server with another member's keys: the link does not open, and the operator learns whose certificate it was."""
    north = consortium.hospital_keys["north"]
    posing = TrustedRoster(
        SignedRoster(
            Roster(
                1,
                consortium.roster.roster.hospitals[:1],
                dataclasses.replace(north, role="coordinator").member(),
            ),
            {},
        ),
        consortium.roster.certificates,
    )
    server = LinkServer("127.0.0.1:0", dataclasses.replace(north, role="coordinator"), posing)
    port = server.start()
    try:
        problem = why_not(consortium.hospital_keys["east"], consortium.roster, f"127.0.0.1:{port}")
    finally:
        server.stop()
    assert problem.kind == "wrong_coordinator"
    assert "the certificate of hospital north" in str(problem)


def test_an_expired_hospital_certificate_is_refused(tmp_path: Path) -> None:
    made = NOW - timedelta(days=30)
    parts = make_consortium(tmp_path, made=made, valid_days={"north": 20})
    server = LinkServer("127.0.0.1:0", parts.coordinator_keys, parts.roster)
    port = server.start()
    try:
        problem = why_not(parts.hospital_keys["north"], parts.roster, f"127.0.0.1:{port}")
        assert (problem.kind, problem.fatal) == ("own_certificate", True)
        assert f"expired on {made + timedelta(days=20):%Y-%m-%d}" in str(problem)
        # With a clock that is behind it does not see so itself; the coordinator does.
        problem = why_not(parts.hospital_keys["north"], parts.roster, f"127.0.0.1:{port}", FixedClock(made))
        assert problem.kind == "own_certificate_refused"
        assert "its clock says that it expired" in str(problem)
    finally:
        server.stop()


def test_the_stream_of_a_certificate_that_expires_meanwhile_ends(tmp_path: Path) -> None:
    """The long-lived stream was opened in time; the coordinator's clock is a second before the end of the certificate."""
    parts = make_consortium(tmp_path, made=NOW)
    end = parts.hospital_keys["north"].certificate.not_after
    server = LinkServer(
        "127.0.0.1:0", parts.coordinator_keys, parts.roster, clock=FixedClock(end - timedelta(seconds=0.3))
    )
    port = server.start()
    try:
        with hospital_process(parts.folder / "north", port):
            wait_for(server, lambda event: isinstance(event, Connected))
            started = time.monotonic()
            gone = wait_for(server, lambda event: isinstance(event, Disconnected))
            assert isinstance(gone, Disconnected)
            assert gone.reason == "The hospital's certificate expired."
            assert time.monotonic() - started < 3
    finally:
        server.stop()


def test_an_expired_coordinator_certificate_is_refused(tmp_path: Path) -> None:
    made = NOW - timedelta(days=30)
    parts = make_consortium(tmp_path, made=made, valid_days={"coordinator": 20})
    with pytest.raises(Exception, match="this coordinator expired on"):
        LinkServer("127.0.0.1:0", parts.coordinator_keys, parts.roster).start()
    server = LinkServer("127.0.0.1:0", parts.coordinator_keys, parts.roster, clock=FixedClock(made))
    port = server.start()
    try:
        problem = why_not(parts.hospital_keys["north"], parts.roster, f"127.0.0.1:{port}")
    finally:
        server.stop()
    assert problem.kind == "coordinator_expired"
    assert f"expired on {made + timedelta(days=20):%Y-%m-%d}" in str(problem)


def test_what_else_can_be_in_the_way_is_named(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    north = consortium.hospital_keys["north"]
    with socket.create_server(("127.0.0.1", 0)) as closed:
        free = closed.getsockname()[1]
    assert why_not(north, consortium.roster, f"127.0.0.1:{free}").kind == "port_closed"
    with socket.create_server(("127.0.0.1", 0)) as web:
        web.settimeout(5)

        def serve() -> None:
            while True:
                try:
                    peer, _ = web.accept()
                except OSError:
                    return
                with peer:
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        threading.Thread(target=serve, daemon=True).start()
        assert why_not(north, consortium.roster, f"127.0.0.1:{web.getsockname()[1]}").kind == "not_tls"
    assert why_not(north, consortium.roster, "nowhere.invalid:9443").kind == "name_resolution"
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{free}")
    problem = why_not(north, consortium.roster, "nowhere.invalid:9443")
    assert problem.kind == "proxy"
    assert "https_proxy" in str(problem)


def with_certificate(roster: TrustedRoster, member_id: str, keys: MemberKeys) -> TrustedRoster:
    """The roster as another coordinator would hold it: `member_id` with other keys; signatures do not matter to the link."""
    hospitals = tuple(
        dataclasses.replace(m, certificate_sha256=keys.certificate.sha256) if m.id == member_id else m
        for m in roster.roster.hospitals
    )
    changed = Roster(1, hospitals, roster.roster.coordinator)
    return TrustedRoster(
        SignedRoster(changed, roster.signed.signatures),
        {**roster.certificates, member_id: keys.certificate_pem},
    )

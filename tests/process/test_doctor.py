"""`wardround-hospital doctor` on real sockets: every fault on the way to the coordinator is really made, and named with its remedy."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import coordinator.link
from coordinator.link import Connected, Disconnected, LinkServer
from hospital_node import reach
from hospital_node.channel import ask_once
from hospital_node.cli import main
from hospital_node.connect_problem import ConnectProblem
from hospital_node.doctor import door
from hospital_node.doctor.examination import Outcome, exit_code
from hospital_node.doctor.finding import Finding
from hospital_node.proxy_route import route_to
from privacy.link.inquiry import INQUIRY
from privacy.link.member_keys import MemberKeys
from privacy.link.roster_file import TrustedRoster
from privacy.link.transport_rules import METHOD, SERVICE
from tests.command_lines import run
from tests.doctor_setting import POLICY, Setting, make_setting
from tests.process.doctor_setup import Connecting, server, silent, tls, web
from tests.process.link_setup import (
    Consortium,
    FixedClock,
    hospital_process,
    make_consortium,
    wait_for,
    why_not,
)
from tests.process.test_link_tls import with_certificate

NOW = datetime.now(UTC)
# Nobody's: RFC 2606.
NAME = "coordinator.test:7443"
WAY = (
    "route",
    "name",
    "port",
    "tls",
    "http2",
    "coordinator",
    "admission",
    "versions",
    "same roster",
    "clock",
)


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return make_consortium(tmp_path_factory.mktemp("consortium"))


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return make_consortium(tmp_path_factory.mktemp("other"))


@pytest.fixture
def setting(tmp_path: Path, consortium: Consortium) -> Setting:
    return make_setting(tmp_path, consortium)


@contextlib.contextmanager
def listening(
    keys: MemberKeys, roster: TrustedRoster, clock: FixedClock | None = None
) -> Iterator[tuple[LinkServer, str]]:
    server = LinkServer("127.0.0.1:0", keys, roster, clock=clock)
    port = server.start()
    try:
        yield server, f"127.0.0.1:{port}"
    finally:
        server.stop()


@pytest.fixture(scope="module")
def address(consortium: Consortium) -> Iterator[str]:
    with listening(consortium.coordinator_keys, consortium.roster) as (_, where):
        yield where


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is silent here stays so."""
    monkeypatch.setattr(reach, "PROBE_S", 0.4)


def results(outcomes: dict[str, Outcome]) -> dict[str, str]:
    return {name: outcome.finding.result for name, outcome in outcomes.items() if name in WAY}


def fault(setting: Setting, address: str, check: str, **environment: str) -> Finding:
    """The finding of the one check on the way that fails; everything before it is well, everything that needs it names it."""
    outcomes = setting.outcomes(setting.case(address, **environment), *WAY)
    bad = [outcome for outcome in outcomes.values() if outcome.finding.result == "failed"]
    assert [outcome.check.name for outcome in bad] == [check]
    assert exit_code(tuple(outcomes.values())) == 3
    skipped = {name: o.since for name, o in outcomes.items() if o.finding.result == "skipped"}
    assert set(skipped.values()) <= {check}
    assert bad[0].finding.remedy
    return bad[0].finding


def test_a_hospital_that_is_ready(setting: Setting, address: str) -> None:
    """All of it against a coordinator that listens; the anchor lies where the home is, and the disk may be busy."""
    outcomes = setting.outcomes(setting.case(address))
    assert {n: o.finding for n, o in outcomes.items() if o.finding.result != "ok"}.keys() <= {
        "anchor",
        "disk",
    }
    assert "differs by less than" in outcomes["clock"].finding.found
    assert exit_code(tuple(outcomes.values())) == 0


def test_a_closed_port(setting: Setting) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        where = f"127.0.0.1:{closed.getsockname()[1]}"
    found = fault(setting, where, "port")
    assert found.found == f"Nobody listens on {where}"
    assert "wait until the coordinator runs" in found.remedy


def test_a_name_that_nobody_has(setting: Setting) -> None:
    found = fault(setting, "nowhere.invalid:7443", "name")
    assert "is not known here" in found.found
    assert "DNS" in found.remedy


def test_an_address_that_is_none(setting: Setting) -> None:
    outcome = setting.outcomes(setting.case("coordinator.example.org"), *WAY)["route"]
    assert (outcome.finding.result, "write host:port" in outcome.finding.found) == ("failed", True)


@pytest.mark.usefixtures("hurried")
def test_a_port_that_lets_nobody_in(setting: Setting) -> None:
    """Its queue is full, so that the system drops what comes: from here it looks like a firewall that does."""
    with contextlib.ExitStack() as held, socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(3):
            waiting = held.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(full.getsockname())
        found = fault(setting, f"127.0.0.1:{full.getsockname()[1]}", "port")
    assert "nothing within 0.4 s" in found.found
    assert "firewall allow this outbound port" in found.remedy


@pytest.mark.usefixtures("hurried")
def test_a_port_that_says_nothing(setting: Setting) -> None:
    with server(silent) as where:
        found = fault(setting, where, "tls")
    assert "then says nothing" in found.found
    assert "firewall or load balancer" in found.remedy


def test_a_web_server(setting: Setting) -> None:
    with server(web) as where:
        found = fault(setting, where, "tls")
    assert "does not speak TLS 1.3, nor any other" in found.found
    assert "check the port" in found.remedy


def test_a_server_of_tls_1_2(setting: Setting, consortium: Consortium) -> None:
    old = tls(consortium.folder / "coordinator", newest=ssl.TLSVersion.TLSv1_2, protocol="h2")
    with server(old) as where:
        found = fault(setting, where, "tls")
    assert "speaks TLS 1.2 or older" in found.found
    assert "firewall intercepts TLS" in found.remedy


def test_a_server_without_http_2(setting: Setting, consortium: Consortium) -> None:
    plain = tls(consortium.folder / "coordinator", newest=ssl.TLSVersion.TLSv1_3, protocol="")
    with server(plain) as where:
        found = fault(setting, where, "http2")
    assert "not HTTP/2" in found.found
    assert "pass the connection on unopened" in found.remedy


def test_a_coordinator_that_never_answers(
    setting: Setting, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "ANSWER_S", 0.5)
    mute = tls(consortium.folder / "coordinator", newest=ssl.TLSVersion.TLSv1_3, protocol="h2")
    with server(mute) as where:
        found = fault(setting, where, "admission")
    assert "did not answer within 0.5 s" in found.found
    assert "overloaded" in found.remedy


def test_the_coordinator_of_another_consortium(setting: Setting, other: Consortium) -> None:
    with listening(other.coordinator_keys, other.roster) as (_, where):
        found = fault(setting, where, "coordinator")
    assert "a certificate that is not in the roster" in found.found
    assert "intercepts TLS, or ask for the newest roster" in found.remedy


def test_a_hospital_that_poses_as_the_coordinator(setting: Setting, consortium: Consortium) -> None:
    posing = tls(consortium.folder / "east", newest=ssl.TLSVersion.TLSv1_3, protocol="h2")
    with server(posing) as where:
        assert "the certificate of hospital east" in fault(setting, where, "coordinator").found


def test_an_expired_coordinator(tmp_path: Path) -> None:
    made = NOW - timedelta(days=30)
    parts = make_consortium(tmp_path / "c", made=made, valid_days={"coordinator": 20})
    setting = make_setting(tmp_path, parts)
    with listening(parts.coordinator_keys, parts.roster, FixedClock(made)) as (_, where):
        outcomes = setting.outcomes(setting.case(where), *WAY)
    assert results(outcomes)["coordinator"] == "failed"
    for name in ("certificates", "coordinator"):
        assert f"expired on {made + timedelta(days=20):%Y-%m-%d}" in outcomes[name].finding.found
        assert "new keys with `init`" in outcomes[name].finding.found + outcomes[name].finding.remedy


def test_a_coordinator_that_does_not_know_this_hospital(
    setting: Setting, consortium: Consortium, other: Consortium
) -> None:
    theirs = with_certificate(consortium.roster, "north", other.hospital_keys["north"])
    with listening(consortium.coordinator_keys, theirs) as (_, where):
        found = fault(setting, where, "admission")
    assert "closed the connection on seeing the certificate of north" in found.found
    assert "its roster does not hold it" in found.remedy


def test_a_coordinator_that_refuses_says_why(
    setting: Setting, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a member that TLS lets in and the roster gives another role."""
    pins = consortium.roster.pins()
    north = consortium.hospital_keys["north"].certificate.sha256
    moved = {**pins, north: pins[consortium.coordinator_keys.certificate.sha256]}
    with listening(consortium.coordinator_keys, consortium.roster) as (link, where):
        monkeypatch.setattr(link, "_pins", moved)
        found = fault(setting, where, "admission")
    assert "only a hospital may connect here" in found.found
    assert "over the phone" in found.remedy


def http2(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    """One frame (RFC 9113, 4.1)."""
    return struct.pack(">I", len(body))[1:] + struct.pack(">BBI", kind, flags, stream) + body


def asks_and_takes_nothing(peer: ssl.SSLSocket) -> None:
    """The question with a window of no byte for its answer."""
    names = {
        b":method": b"POST",
        b":scheme": b"https",
        b":path": f"/{SERVICE}/{METHOD}".encode(),
        b":authority": b"x",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    head = b"".join(bytes([0, len(n)]) + n + bytes([len(v)]) + v for n, v in names.items())
    body = struct.pack(">BI", 0, len(INQUIRY)) + INQUIRY
    settings = struct.pack(">HI", 4, 0)
    peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + http2(4, 0, 0, settings))
    peer.sendall(http2(1, 4, 1, head) + http2(0, 0, 1, body))


def test_who_asks_and_takes_no_answer_is_not_waited_for(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator.link, "HELLO_DEADLINE_S", 0.3)
    ended = threading.Event()
    real = LinkServer._tell_standing

    async def told(self: LinkServer, context: object, hospital: str) -> None:
        await real(self, context, hospital)
        ended.set()

    monkeypatch.setattr(LinkServer, "_tell_standing", told)
    own = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    own.check_hostname, own.verify_mode = False, ssl.CERT_NONE
    own.load_cert_chain(consortium.folder / "north" / "tls.crt", consortium.folder / "north" / "tls.key")
    own.set_alpn_protocols(["h2"])
    with listening(consortium.coordinator_keys, consortium.roster) as (_, where):
        host, _, port = where.partition(":")
        with own.wrap_socket(socket.create_connection((host, int(port)))) as peer:
            asks_and_takes_nothing(peer)
            assert ended.wait(5)


def test_a_coordinator_that_does_not_stop_answering(
    setting: Setting, consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One frame is an answer; more of them do not fill the memory of who asked."""
    real = LinkServer._tell_standing

    async def again(self: LinkServer, context: object, hospital: str) -> None:
        while time.monotonic() < end_s:
            await real(self, context, hospital)
            await asyncio.sleep(0)

    monkeypatch.setattr(LinkServer, "_tell_standing", again)
    with listening(consortium.coordinator_keys, consortium.roster) as (_, where):
        setting.outcomes(setting.case(where), "tls")
        started_s = time.monotonic()
        end_s = started_s + 4
        assert setting.outcomes(setting.case(where), *WAY)["admission"].finding.result == "ok"
        assert time.monotonic() < end_s


def test_a_coordinator_with_another_roster(
    setting: Setting, consortium: Consortium, other: Consortium
) -> None:
    newer = with_certificate(consortium.roster, "east", other.hospital_keys["east"])
    with listening(consortium.coordinator_keys, newer) as (_, where):
        found = fault(setting, where, "same roster")
    assert "another roster" in found.found
    assert f"enrol consortium.json --home {setting.home.root}" in found.remedy


def test_a_node_that_runs_is_seen_and_left_alone(setting: Setting, consortium: Consortium) -> None:
    with (
        listening(consortium.coordinator_keys, consortium.roster) as (link, where),
        hospital_process(consortium.folder / "north", int(where.rpartition(":")[2])) as process,
    ):
        wait_for(link, lambda event: isinstance(event, Connected))
        outcomes = setting.outcomes(setting.case(where), *WAY)
        link.send("north", b"still there?")
        seen = []
        wait_for(link, lambda event: seen.append(event) or getattr(event, "message", b"") == b"still there?")
        assert process.poll() is None
    assert not any(isinstance(event, (Connected, Disconnected)) for event in seen)
    assert "a node of it is connected now" in outcomes["admission"].finding.found
    assert set(results(outcomes).values()) == {"ok"}


def test_a_coordinator_of_before_this_question(
    setting: Setting, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coordinator.link, "is_inquiry", lambda frame: False)
    outcomes = setting.outcomes(setting.case(address), *WAY)
    assert [name for name, result in results(outcomes).items() if result == "warn"] == [
        "admission",
        "versions",
        "same roster",
    ]
    assert "north is admitted" in outcomes["admission"].finding.found
    assert "not compared" in outcomes["clock"].finding.found


@pytest.mark.parametrize(
    ("name", "value", "result", "words"),
    [
        ("VERSION", 77, "failed", "of the link here"),
        ("PROTOCOL_VERSION", 77, "failed", "of the protocol here"),
        ("installed_release", lambda: "0.0.7", "warn", "0.0.7 at the coordinator"),
    ],
)
def test_other_versions_at_the_coordinator(
    setting: Setting,
    consortium: Consortium,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    value: object,
    result: str,
    words: str,
) -> None:
    monkeypatch.setattr(coordinator.link, name, value)
    with listening(consortium.coordinator_keys, consortium.roster) as (_, where):
        found = setting.outcome("versions", setting.case(where)).finding
    assert (found.result, words in found.found) == (result, True)
    assert found.remedy == "install the same release on both sides"


@pytest.mark.parametrize(
    ("ahead", "result", "words"),
    [
        (timedelta(hours=-3), "warn", "3 hours ahead of"),
        (timedelta(hours=3), "warn", "3 hours behind"),
        (timedelta(days=3), "failed", "new certificates are refused"),
    ],
)
def test_two_clocks(
    setting: Setting, consortium: Consortium, ahead: timedelta, result: str, words: str
) -> None:
    with listening(consortium.coordinator_keys, consortium.roster, FixedClock(datetime.now(UTC) + ahead)) as (
        _,
        where,
    ):
        found = setting.outcomes(setting.case(where), *WAY)["clock"].finding
    assert (found.result, words in found.found) == (result, True)
    assert "which of the two is wrong cannot be seen" in found.remedy


def test_a_clock_before_the_keys_were_made(setting: Setting) -> None:
    early = FixedClock(NOW - timedelta(hours=5))
    found = setting.outcomes(setting.case(clock=early), "keys", "clock")["clock"].finding
    assert (found.result, "before this hospital's keys were made" in found.found) == ("failed", True)


def test_through_a_proxy(setting: Setting, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name for the coordinator is one that this machine cannot look up."""
    proxy = Connecting(address)
    with server(proxy) as where:
        monkeypatch.setenv("https_proxy", f"http://operator:geheim@{where}")
        outcomes = setting.outcomes(setting.case(NAME, **os.environ), *WAY)
    assert set(results(outcomes).values()) == {"ok"}, outcomes
    assert f"through the proxy {where} named in https_proxy" in outcomes["route"].finding.found
    assert "geheim" not in str(outcomes)
    # The steps and gRPC itself asked in the same words.
    heads = {
        tuple(line for line in head.split(b"\r\n") if line.startswith((b"CONNECT", b"Proxy-Auth")))
        for head in proxy.asked
    }
    assert len(proxy.asked) == 3
    assert {line.split(b" HTTP")[0].replace(b": ", b":") for head in heads for line in head} == {
        b"CONNECT coordinator.test:7443",
        b"Proxy-Authorization:Basic b3BlcmF0b3I6Z2VoZWlt",
    }


@pytest.mark.parametrize(
    ("status", "words", "remedy"),
    [
        ("403 Forbidden", "(403)", "allow CONNECT"),
        ("407 Proxy Authentication Required", "(407)", "http://user:password@host:port"),
        ("502 Bad Gateway", "(502)", "allow CONNECT"),
    ],
)
def test_a_proxy_that_refuses(
    setting: Setting,
    status: str,
    words: str,
    remedy: str,
    consortium: Consortium,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with server(Connecting(status=status)) as where:
        found = fault(setting, NAME, "port", https_proxy=f"http://{where}")
        assert (words in found.found, remedy in found.remedy) == (True, True)
        # What a node says that dials is the same.
        monkeypatch.setenv("https_proxy", f"http://{where}")
        problem = why_not(consortium.hospital_keys["north"], consortium.roster, NAME)
    assert (problem.kind, problem.found) == ("proxy", found.found)


@pytest.mark.usefixtures("hurried")
def test_a_proxy_that_is_none(setting: Setting) -> None:
    with server(silent) as where:
        assert (
            "does not answer to CONNECT" in fault(setting, NAME, "port", https_proxy=f"http://{where}").found
        )
    found = fault(setting, NAME, "name", http_proxy="http://proxy.invalid:3128")
    assert "correct the variable" in found.remedy


@pytest.mark.usefixtures("hurried")
def test_a_proxy_that_drips(setting: Setting) -> None:
    """A byte at a time, each in time: all of them together have the time of one. A node that dials waits as long."""

    def drip(peer: socket.socket) -> None:
        while True:
            time.sleep(0.1)
            peer.sendall(b"H")

    with server(drip) as where:
        started_s = time.monotonic()
        with pytest.raises(ConnectProblem, match="does not answer to CONNECT"):
            reach.dial(route_to("coordinator.test", 7443, {"https_proxy": f"http://{where}"}))
    assert time.monotonic() - started_s < 2


def test_a_proxy_variable_in_capitals_is_warned_of(setting: Setting) -> None:
    outcome = setting.outcomes(setting.case(NAME, HTTPS_PROXY="http://127.0.0.1:1"), "route")["route"]
    assert (outcome.finding.result, "lower case" in outcome.finding.found) == ("warn", True)
    assert "export https_proxy=" in outcome.finding.remedy


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"https_proxy": "{proxy}"},
        {"http_proxy": "{proxy}"},
        {"grpc_proxy": "{proxy}", "https_proxy": "http://proxy.invalid:1"},
        {"https_proxy": "", "http_proxy": "{proxy}"},
        {"HTTPS_PROXY": "{proxy}"},
        {"https_proxy": "https{proxy}"},
        {"https_proxy": "{bare}"},
        {"https_proxy": "{proxy}", "no_proxy": "other.org, .TEST"},
        {"https_proxy": "{proxy}", "no_proxy": "*"},
        {"https_proxy": "{proxy}", "no_proxy": "coordinator.test:7443"},
        {"https_proxy": "{proxy}", "no_grpc_proxy": "other.org", "no_proxy": ".test"},
        {"https_proxy": "{proxy}", "no_grpc_proxy": ""},
    ],
)
def test_grpc_takes_the_way_that_is_shown(
    consortium: Consortium, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC itself is the oracle of `route_to`: it asks the proxy or it does not."""
    proxy = Connecting(status="403 Forbidden")
    with server(proxy) as where:
        for name, value in environment.items():
            text = value.replace("https{proxy}", f"https://{where}").replace("{bare}", where)
            monkeypatch.setenv(name, text.replace("{proxy}", f"http://{where}"))
        route = route_to("coordinator.test", 7443, os.environ)
        keys, root = consortium.hospital_keys["north"], consortium.roster.certificates["coordinator"]
        reply = ask_once("coordinator.test", 7443, keys, root, INQUIRY, 5.0)
    assert reply.status == "UNAVAILABLE"
    assert bool(proxy.asked) == (route.proxy is not None), route


def test_a_node_that_dials_heeds_the_exceptions_from_the_proxy(
    consortium: Consortium, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("no_proxy", ".invalid")
    problem = why_not(consortium.hospital_keys["north"], consortium.roster, "nowhere.invalid:7443")
    assert problem.kind == "name_resolution"


def test_the_command_says_everything_in_one_go_and_no_secret(
    setting: Setting, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://operator:geheim@127.0.0.1:1")
    options = ("--home", setting.home.root, "--study", setting.study, "--data", setting.data)
    secrets = [(setting.home.keys / name).read_text().split()[-3:] for name in ("identity.key", "tls.key")]
    hidden = [
        "geheim",
        "Z2VoZWlt",
        "P00007",
        *(line for lines in secrets for line in lines if "-" not in line),
    ]
    well = run(main, "doctor", *options, "--coordinator", address)
    assert well.code == 0, well.out
    assert well.out.splitlines()[-1].startswith("ready")
    setting.home.policy.write_text(POLICY.format(anchor="") + "unknown = 1\n")
    (setting.home.keys / "tls.key").chmod(0o644)
    bad = run(main, "doctor", *options, "--coordinator", NAME, "--json")
    assert bad.code == 2
    *rows, last = [json.loads(line) for line in bad.out.splitlines()]
    assert {r["check"] for r in rows if r["result"] == "failed"} == {"keys", "policy", "port"}
    assert {r["check"]: r["result"] for r in rows}["data"] == "ok"
    assert (last["ready"], last["failed"], last["exit_code"]) == (False, 3, 2)
    for row in rows:
        assert bool(row["remedy"]) or row["result"] in ("ok", "skipped"), row
    for text in hidden:
        assert text not in well.out + well.err + bad.out + bad.err


@pytest.mark.slow
def test_two_processes_as_their_operators_start_them(
    setting: Setting, consortium: Consortium, tmp_path: Path
) -> None:
    """A coordinator that waits for a study's hospitals, the doctor beside it, and then a fault of each side."""
    root = Path(__file__).parents[2]
    home = tmp_path / "coordinator"
    home.mkdir()
    (home / "keys").symlink_to(consortium.folder / "coordinator")
    typed = [sys.executable, "-m", "coordinator.cli", "run", "--home", home, "--study", setting.study]
    typed += ["--out", tmp_path / "out", "--listen", "127.0.0.1:0", "--json"]
    process = subprocess.Popen([str(word) for word in typed], stdout=subprocess.PIPE, text=True, cwd=root)
    assert process.stdout is not None
    try:
        port = next(json.loads(line)["port"] for line in process.stdout if '"listening"' in line)

        def doctor(home: Path) -> tuple[int, str, float]:
            words = [
                sys.executable,
                "-m",
                "hospital_node.cli",
                "doctor",
                "--home",
                home,
                "--study",
                setting.study,
            ]
            words += ["--data", setting.data, "--coordinator", f"127.0.0.1:{port}"]
            started = time.monotonic()
            done = subprocess.run([str(word) for word in words], capture_output=True, text=True, cwd=root)
            assert done.stderr == ""
            return done.returncode, done.stdout, time.monotonic() - started

        code, said, _ = doctor(setting.home.root)
        assert (code, said.splitlines()[-1][:5]) == (0, "ready"), said
        code, said, _ = doctor(tmp_path / "nothing")
        assert code == 2
        assert "wardround-hospital init" in said
        process.kill()
        process.wait()
        code, said, seconds = doctor(setting.home.root)
        assert (code, "Nobody listens on" in said) == (3, True)
        assert seconds < 20
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

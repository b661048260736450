"""Consortia, a TCP proxy that can cut, and hospital processes for the tests of the link."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import grpc

import coordinator.enrolment
import coordinator.keys
import hospital_node.enrolment
import hospital_node.keys
from coordinator.link import LinkEvent, LinkServer
from hospital_node.link import ConnectProblem, LinkClient
from privacy.link.certificates import tls_name
from privacy.link.framing import Hello
from privacy.link.member_keys import MemberKeys
from privacy.link.roster_file import TrustedRoster
from privacy.link.transport_rules import METHOD, SERVICE

HOSPITALS = ("east", "north", "south")


@dataclass(frozen=True)
class Consortium:
    """`folder` holds one folder of keys and roster per member."""

    folder: Path
    coordinator_keys: MemberKeys
    hospital_keys: dict[str, MemberKeys]
    roster: TrustedRoster


def make_consortium(
    folder: Path,
    *,
    made: datetime | None = None,
    valid_days: dict[str, int] | None = None,
    hospitals: tuple[str, ...] = HOSPITALS,
) -> Consortium:
    """Keys, enrolment, signatures and the accepted roster of everybody, by the functions that operators use."""
    days, now = valid_days or {}, made or datetime.now(UTC)
    central = folder / "coordinator"
    own = coordinator.keys.create(
        central, entropy=os.urandom, now=now, valid_days=days.get("coordinator", 730)
    )
    held = {
        name: hospital_node.keys.create(
            folder / name, name, entropy=os.urandom, now=now, valid_days=days.get(name, 730)
        )
        for name in hospitals
    }
    files = [hospital_node.enrolment.write_enrolment(folder / name, "a phone") for name in hospitals]
    coordinator.enrolment.enrol(central, files)
    draft = coordinator.enrolment.draft_roster(central)
    signatures = [hospital_node.enrolment.sign_roster(folder / name, draft) for name in hospitals]
    complete = coordinator.enrolment.collect_signatures(central, signatures).path
    assert complete is not None
    for name in hospitals:
        hospital_node.enrolment.accept_roster(folder / name, complete)
    return Consortium(folder, own, held, coordinator.enrolment.load_roster(central))


class CuttingProxy:
    """Forwards TCP connections to a port; `cut` kills those that are open, `accepting` says whether new ones get through."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.accepting = True
        self.forwarded = 0
        self._cut_after: int | None = None
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Reset every open connection."""
        with self._lock:
            for end in self._open:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()
            self._open.clear()

    def cut_after(self, count: int) -> None:
        """Cut by itself once so many more bytes went through."""
        self._cut_after = self.forwarded + count

    def close(self) -> None:
        # Closing alone does not wake the thread that accepts.
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        self.cut()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self.accepting:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._target))
            with self._lock:
                self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while block := source.recv(65536):
                self.forwarded += len(block)
                if self._cut_after is not None and self.forwarded >= self._cut_after:
                    self._cut_after = None
                    self.cut()
                    return
                sink.sendall(block)
        self.cut()


@contextlib.contextmanager
def hospital_process(folder: Path, port: int, behavior: str = "echo") -> Iterator[subprocess.Popen[str]]:
    """A hospital in a process of its own; its lines come on stdout. Killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.process.link_hospital", str(folder), f"127.0.0.1:{port}", behavior],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def wait_for(server: LinkServer, wanted: Callable[[LinkEvent], bool], within_s: float = 10.0) -> LinkEvent:
    """The first event that is wanted; fails after `within_s` seconds with what came instead."""
    end, seen = time.monotonic() + within_s, []
    while time.monotonic() < end:
        event = server.receive(0.1)
        if event is not None:
            seen.append(event)
            if wanted(event):
                return event
    raise AssertionError(f"not seen within {within_s} s; came: {[str(e)[:120] for e in seen]}")


@dataclass
class FixedClock:
    """A machine whose clock is wrong: wall time stands still at `moment`."""

    moment: datetime

    def now(self) -> datetime:
        return self.moment

    def monotonic_s(self) -> float:
        return time.monotonic()


def wait_until(holds: Callable[[], bool], within_s: float = 10.0) -> None:
    """Returns as soon as a condition of another thread or process holds."""
    end = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < end, f"did not hold within {within_s:g} s"
        time.sleep(0.01)


def why_not(
    client_keys: MemberKeys, roster: TrustedRoster, address: str, clock: FixedClock | None = None
) -> ConnectProblem:
    """Let a hospital try to connect in this process; the first reason that its operator sees."""
    problems: list[ConnectProblem] = []
    stop = threading.Event()

    def note(problem: ConnectProblem) -> None:
        problems.append(problem)
        stop.set()

    def connected() -> list[bytes]:
        stop.set()
        return []

    client = LinkClient(address, client_keys, roster, on_problem=note, clock=clock, entropy=os.urandom)
    try:
        client.run(lambda message: [], connected, stop)
    except ConnectProblem as problem:
        problems.append(problem)
    assert problems, "the hospital connected"
    return problems[0]


def raw_call(folder: Path, port: int, frames: list[bytes]) -> tuple[grpc.StatusCode, str]:
    """A hospital with the keys in `folder` that sends any frames it likes; how the stream ended."""
    keys = hospital_node.keys.load(folder)
    roster = hospital_node.enrolment.load_roster(folder)
    credentials = grpc.ssl_channel_credentials(
        roster.certificates["coordinator"], keys.tls_private.reveal(), keys.certificate_pem
    )
    options = [
        ("grpc.ssl_target_name_override", tls_name("coordinator")),
        ("grpc.max_send_message_length", -1),
        ("grpc.enable_http_proxy", 0),
        ("grpc.use_local_subchannel_pool", 1),
    ]
    with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
        call = channel.stream_stream(f"/{SERVICE}/{METHOD}")(iter(frames), timeout=10)
        try:
            for _ in call:
                pass
        except grpc.RpcError:
            return call.code(), call.details()
    return grpc.StatusCode.OK, ""


def hello() -> bytes:
    return Hello(os.urandom(16), None, 0).encode()

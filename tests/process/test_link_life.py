"""Processes that die, come twice or misbehave; what the coordinator notices, how fast, and what is left when the link stops."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

from coordinator.link import Connected, Disconnected, LinkServer, ListenError, Received
from hospital_node.link import ConnectProblem, LinkClient
from privacy.link.framing import FRAME_BYTES, Hello, Limits, MessageTooLarge, QueueFull
from privacy.link.transport_rules import HANDSHAKE_DEADLINE_S, REPLACED
from tests.process.link_setup import (
    Consortium,
    hello,
    hospital_process,
    make_consortium,
    raw_call,
    wait_for,
    wait_until,
)

NORTH = "north"


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return make_consortium(tmp_path_factory.mktemp("consortium"))


@pytest.fixture
def server(consortium: Consortium) -> Iterator[LinkServer]:
    server = LinkServer(
        "127.0.0.1:0", consortium.coordinator_keys, consortium.roster, limits=Limits(message_bytes=2**20)
    )
    yield server
    server.stop()


def data(number: int, total: int, offset: int, payload: bytes) -> bytes:
    return b"\x01" + number.to_bytes(8) + (0).to_bytes(8) + total.to_bytes(8) + offset.to_bytes(8) + payload


def test_a_killed_hospital_is_noticed_at_once(consortium: Consortium, server: LinkServer) -> None:
    with hospital_process(consortium.folder / NORTH, server.start()) as process:
        wait_for(server, lambda event: isinstance(event, Connected))
        process.kill()
        started = time.monotonic()
        gone = wait_for(server, lambda event: isinstance(event, Disconnected))
        assert gone == Disconnected(NORTH, "The connection was lost.")
        assert time.monotonic() - started < 1.0


def test_a_second_connection_with_the_same_certificate_replaces_the_first(
    consortium: Consortium, server: LinkServer
) -> None:
    port = server.start()
    with hospital_process(consortium.folder / NORTH, port) as first:
        wait_for(server, lambda event: event == Received(NORTH, b"here"))
        with hospital_process(consortium.folder / NORTH, port):
            assert wait_for(server, lambda event: isinstance(event, Disconnected)) == Disconnected(
                NORTH, REPLACED
            )
            assert server.receive(5) == Connected(NORTH, fresh=True)
            # The first one ends, with the reason, instead of fighting for the place.
            assert first.wait(5) == 3
            assert first.stdout is not None
            assert "run only one" in first.stdout.read()
            server.send(NORTH, b"who is there")
            wait_for(server, lambda event: event == Received(NORTH, b"who is there"))
            assert server.connected() == {NORTH}


def test_stop_leaves_no_thread_and_frees_the_port(consortium: Consortium, server: LinkServer) -> None:
    before = set(threading.enumerate())
    port = server.start()
    stop = threading.Event()
    client = LinkClient(
        f"127.0.0.1:{port}", consortium.hospital_keys[NORTH], consortium.roster, entropy=os.urandom
    )
    runner = threading.Thread(target=client.run, args=(lambda message: [], list, stop))
    runner.start()
    wait_for(server, lambda event: isinstance(event, Connected))
    with pytest.raises(ListenError, match="choose a free port"):
        LinkServer(f"127.0.0.1:{port}", consortium.coordinator_keys, consortium.roster).start()
    started = time.monotonic()
    stop.set()
    runner.join()
    server.stop()
    server.stop()
    assert time.monotonic() - started < 2.0
    assert not set(threading.enumerate()) - before
    with socket.socket() as free:
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", port))


COORDINATOR = """
import sys, threading
from pathlib import Path
from coordinator import enrolment, keys
from coordinator.link import Connected, LinkServer
folder = Path(sys.argv[1], "coordinator")
server = LinkServer("127.0.0.1:0", keys.load(folder), enrolment.load_roster(folder))
print(server.start(), flush=True)
assert server.receive(10) == Connected("north", True)
server.receive(10)
server.stop()
print(*(t.name for t in threading.enumerate()))
"""
HOSPITAL = """
import os, sys, threading
from pathlib import Path
from hospital_node import enrolment, keys
from hospital_node.link import LinkClient
folder, stop = Path(sys.argv[1], "north"), threading.Event()
client = LinkClient(f"127.0.0.1:{sys.argv[2]}", keys.load(folder), enrolment.load_roster(folder), entropy=os.urandom)
client.run(lambda message: [], lambda: stop.set() or [b"bye"], stop)
print(*(t.name for t in threading.enumerate()))
"""


def test_either_process_is_left_with_its_main_thread_alone(consortium: Consortium) -> None:
    """In processes of their own, where no thread of an earlier test can hide one."""
    folder = str(consortium.folder)
    with subprocess.Popen(
        [sys.executable, "-c", COORDINATOR, folder], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as center:
        assert center.stdout is not None
        port = center.stdout.readline().strip()
        north = subprocess.run(
            [sys.executable, "-c", HOSPITAL, folder, port], capture_output=True, text=True, timeout=20
        )
        shown, complaints = center.communicate(timeout=20)
    assert (north.stdout.split(), north.stderr) == (["MainThread"], "")
    assert (shown.split(), complaints) == (["MainThread"], "")


def test_a_hospital_gives_up_after_its_patience(consortium: Consortium) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    before = set(threading.enumerate())
    told: list[ConnectProblem] = []
    client = LinkClient(
        f"127.0.0.1:{port}",
        consortium.hospital_keys[NORTH],
        consortium.roster,
        patience_s=0.5,
        on_problem=told.append,
        entropy=os.urandom,
    )
    with pytest.raises(ConnectProblem, match="Nobody listens"):
        client.run(lambda message: [], list, threading.Event())
    # Told once, although it tried several times.
    assert [problem.kind for problem in told] == ["port_closed"]
    assert not set(threading.enumerate()) - before


def test_an_error_in_the_handler_ends_the_run_and_its_thread(
    consortium: Consortium, server: LinkServer
) -> None:
    before = set(threading.enumerate())
    client = LinkClient(
        f"127.0.0.1:{server.start()}", consortium.hospital_keys[NORTH], consortium.roster, entropy=os.urandom
    )

    def fail() -> list[bytes]:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        client.run(lambda message: [], fail, threading.Event())
    server.stop()
    assert not set(threading.enumerate()) - before


def test_a_frame_above_4_mib_is_refused_before_it_is_kept(consortium: Consortium, server: LinkServer) -> None:
    port = server.start()
    code, _ = raw_call(consortium.folder / NORTH, port, [hello(), bytes(FRAME_BYTES + 1)])
    assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
    # 300 MB from another process: this one must not hold them for a moment.
    program = (
        "import sys; from pathlib import Path; from tests.process.link_setup import hello, raw_call\n"
        "print(raw_call(Path(sys.argv[1]), int(sys.argv[2]), [hello(), bytes(300_000_000)])[0].name)"
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    done = subprocess.run(
        [sys.executable, "-c", program, str(consortium.folder / NORTH), str(port)],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout.strip() == "RESOURCE_EXHAUSTED"
    assert (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024 < 50_000_000


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        ([data(0, 2**20 + 1, 0, b"x")], "is above the link's limit"),
        ([data(0, 2**63, 0, b"x")], "is above the link's limit"),
        ([data(0, 10, 0, b"x" * 11)], "does not continue its message"),
        ([data(0, 10, 0, b"x"), data(1, 11, 1, b"x")], "does not continue its message"),
        ([data(0, 10, 0, b"x"), data(1, 10, 0, b"x")], "does not continue its message"),
        ([data(1, 10, 0, b"x")], "came where frame 0 was due"),
        ([data(0, 2, 0, b"x"), data(0, 2, 0, b"x")], "came where frame 1 was due"),
        ([data(0, 10, 0, b"")], "a data frame is empty"),
        ([b"\x07"], "unknown kind"),
        ([b"\x02" + (5).to_bytes(8)], "acknowledges frames that were not sent"),
    ],
)
def test_broken_framing_ends_the_stream(
    consortium: Consortium, server: LinkServer, frames: list[bytes], reason: str
) -> None:
    port = server.start()
    code, details = raw_call(consortium.folder / NORTH, port, [hello(), *frames])
    assert code == grpc.StatusCode.ABORTED
    assert reason in details
    gone = wait_for(server, lambda event: isinstance(event, Disconnected))
    assert isinstance(gone, Disconnected)
    assert reason in gone.reason


@pytest.mark.parametrize(
    "first", [b"", b"nonsense", Hello(bytes(16), None, 0).encode(), b"\x00\x00\x09" + bytes(40)]
)
def test_a_stream_without_a_proper_greeting_is_refused(
    consortium: Consortium, server: LinkServer, first: bytes
) -> None:
    code, details = raw_call(consortium.folder / NORTH, server.start(), [first])
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert details.startswith("Refused: ")
    assert server.receive(0.1) is None


def test_connections_without_a_handshake_do_not_keep_a_hospital_out(
    consortium: Consortium, server: LinkServer
) -> None:
    port = server.start()
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
    try:
        started = time.monotonic()
        with hospital_process(consortium.folder / NORTH, port):
            wait_for(server, lambda event: event == Received(NORTH, b"here"))
            assert time.monotonic() - started < 5
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.slow
def test_a_connection_without_a_handshake_is_closed(consortium: Consortium, server: LinkServer) -> None:
    with socket.create_connection(("127.0.0.1", server.start()), HANDSHAKE_DEADLINE_S + 5) as idle:
        started = time.monotonic()
        assert idle.recv(1) == b""
        assert time.monotonic() - started < HANDSHAKE_DEADLINE_S + 2


def test_send_is_bounded_and_knows_its_hospitals(consortium: Consortium) -> None:
    limits = Limits(message_bytes=1000, queue_bytes=3000)
    server = LinkServer("127.0.0.1:0", consortium.coordinator_keys, consortium.roster, limits=limits)
    with hospital_process(consortium.folder / NORTH, server.start()) as process:
        wait_for(server, lambda event: isinstance(event, Connected))
        with pytest.raises(MessageTooLarge):
            server.send(NORTH, bytes(1001))
        with pytest.raises(KeyError):
            server.send("nobody", b"x")
        process.kill()
        wait_for(server, lambda event: isinstance(event, Disconnected))
        for _ in range(3):
            server.send(NORTH, bytes(1000))
        with pytest.raises(QueueFull):
            server.send(NORTH, b"x")
    server.stop()


def test_a_coordinator_that_does_not_read_makes_the_hospital_wait(consortium: Consortium) -> None:
    """What waits for `receive` is bounded: the rest stays at the hospital, and comes when there is room."""
    limits = Limits(inbox_bytes=2**20)
    server = LinkServer("127.0.0.1:0", consortium.coordinator_keys, consortium.roster, limits=limits)
    stop = threading.Event()
    client = LinkClient(
        f"127.0.0.1:{server.start()}", consortium.hospital_keys[NORTH], consortium.roster, entropy=os.urandom
    )
    bodies = [bytes([i]) * 1_000_000 for i in range(40)]
    thread = threading.Thread(target=client.run, args=(lambda message: [], lambda: iter(bodies), stop))
    thread.start()
    try:
        wait_until(lambda: server._sessions._events.qsize() >= 2)
        # Nothing says that a message will not come: were the rest read, it would be here by then.
        time.sleep(0.5)
        waiting = server._sessions._events.qsize()
        assert 2 <= waiting <= 4
        came = [event.message for _ in range(41) if isinstance(event := server.receive(5), Received)]
        assert came == bodies
    finally:
        stop.set()
        thread.join()
        server.stop()

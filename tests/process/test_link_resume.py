"""A cut loses nothing and repeats nothing; a new process on either side starts from nothing."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from coordinator.link import Connected, Disconnected, LinkServer, Received
from hospital_node.link import ConnectProblem, LinkClient
from tests.process.link_setup import (
    Consortium,
    CuttingProxy,
    hospital_process,
    make_consortium,
    wait_for,
    wait_until,
)


@pytest.fixture(scope="module")
def consortium(tmp_path_factory: pytest.TempPathFactory) -> Consortium:
    return make_consortium(tmp_path_factory.mktemp("consortium"))


@pytest.fixture
def server(consortium: Consortium) -> Iterator[LinkServer]:
    server = LinkServer("127.0.0.1:0", consortium.coordinator_keys, consortium.roster)
    yield server
    server.stop()


@pytest.fixture
def proxy(server: LinkServer) -> Iterator[CuttingProxy]:
    proxy = CuttingProxy(server.start())
    yield proxy
    proxy.close()


def test_a_cut_resumes_and_nothing_is_sent_or_handled_twice(
    consortium: Consortium, server: LinkServer, proxy: CuttingProxy
) -> None:
    """Twelve messages each way, of 3 to 5 frames each; the connection is reset five times, in the middle of messages."""
    bodies = [os.urandom(3_000_000) + bytes([i]) for i in range(12)]
    with hospital_process(consortium.folder / "north", proxy.port, "count"):
        wait_for(server, lambda event: isinstance(event, Connected))
        wait_for(server, lambda event: isinstance(event, Received))
        for body in bodies:
            server.send("north", body)
        answers, cuts, resumed = [], 0, 0
        proxy.cut_after(2_500_000)
        while len(answers) < len(bodies):
            event = server.receive(10)
            assert event is not None, f"{len(answers)} of {len(bodies)} answers came"
            match event:
                case Received(_, message):
                    answers.append(message)
                case Connected(_, fresh):
                    assert not fresh
                    resumed += 1
                    if cuts < 4:
                        cuts += 1
                        proxy.cut_after(5_500_000)
                case Disconnected():
                    pass
        assert server.receive(0.3) is None
    # The hospital counts what it handles: i-th answer, i-th message, once each and in order.
    assert [a.split(b":", 1)[0] for a in answers] == [b"%d" % (i + 1) for i in range(len(bodies))]
    assert [a.split(b":", 1)[1] for a in answers] == bodies
    assert resumed >= 5


def test_messages_wait_for_the_same_process(
    consortium: Consortium, server: LinkServer, proxy: CuttingProxy
) -> None:
    with hospital_process(consortium.folder / "north", proxy.port):
        wait_for(server, lambda event: event == Received("north", b"here"))
        proxy.accepting = False
        proxy.cut()
        wait_for(server, lambda event: isinstance(event, Disconnected))
        assert server.connected() == frozenset()
        server.send("north", b"one")
        server.send("north", b"two")
        proxy.accepting = True
        assert wait_for(server, lambda event: isinstance(event, Connected)) == Connected("north", fresh=False)
        assert server.receive(5) == Received("north", b"one")
        assert server.receive(5) == Received("north", b"two")
        assert server.connected() == {"north"}


def test_a_new_process_gets_only_what_is_sent_after_its_connected_event(
    consortium: Consortium, server: LinkServer
) -> None:
    port = server.start()
    server.send("north", b"before anybody came: dropped")
    with hospital_process(consortium.folder / "north", port) as first:
        wait_for(server, lambda event: event == Received("north", b"here"))
        first.kill()
        wait_for(server, lambda event: isinstance(event, Disconnected))
        server.send("north", b"to the dead process: dropped")
        with hospital_process(consortium.folder / "north", port) as second:
            # "Connected" and "here" wait in the queue: the stream is up, and the event was not handed out yet.
            wait_until(lambda: server._sessions._events.qsize() >= 2)
            server.send("north", b"before the event was handed out: dropped")
            assert wait_for(server, lambda event: isinstance(event, Connected)) == Connected(
                "north", fresh=True
            )
            server.send("north", b"the last request again")
            assert server.receive(5) == Received("north", b"here")
            assert server.receive(5) == Received("north", b"the last request again")
            assert server.receive(0.2) is None
            second.kill()


def test_a_new_coordinator_process_makes_the_hospital_start_again(consortium: Consortium) -> None:
    """`on_connect` runs again; the answer to a message of the coordinator that is gone is not sent to the new one."""
    first = LinkServer("127.0.0.1:0", consortium.coordinator_keys, consortium.roster)
    port = first.start()
    entered, go_on, stop = threading.Event(), threading.Event(), threading.Event()
    greetings: list[int] = []

    def on_message(message: bytes) -> Iterator[bytes]:
        entered.set()
        go_on.wait(10)
        yield b"answer to " + message

    def on_connect() -> list[bytes]:
        greetings.append(1)
        return [b"hello %d" % len(greetings)]

    client = LinkClient(
        f"127.0.0.1:{port}", consortium.hospital_keys["north"], consortium.roster, entropy=os.urandom
    )
    thread = threading.Thread(target=client.run, args=(on_message, on_connect, stop))
    thread.start()
    try:
        wait_for(first, lambda event: event == Received("north", b"hello 1"))
        first.send("north", b"old")
        assert entered.wait(5)
        first.stop()
        second = LinkServer(f"127.0.0.1:{port}", consortium.coordinator_keys, consortium.roster)
        second.start()
        try:
            assert wait_for(second, lambda event: isinstance(event, Connected)) == Connected(
                "north", fresh=True
            )
            wait_until(lambda: client._talk._generation == 2)
            go_on.set()
            assert second.receive(5) == Received("north", b"hello 2")
            second.send("north", b"new")
            assert second.receive(5) == Received("north", b"answer to new")
        finally:
            stop.set()
            second.stop()
    finally:
        stop.set()
        go_on.set()
        thread.join()


def test_the_last_message_before_stop_arrives(
    consortium: Consortium, server: LinkServer, tmp_path: Path
) -> None:
    """A study's end is sent and the link stopped at once, on either side."""
    got: list[bytes] = []
    stop = threading.Event()

    def on_message(message: bytes) -> Iterator[bytes]:
        got.append(message)
        stop.set()
        yield b"farewell" + bytes(2_000_000)

    client = LinkClient(
        f"127.0.0.1:{server.start()}",
        consortium.hospital_keys["north"],
        consortium.roster,
        entropy=os.urandom,
    )
    thread = threading.Thread(target=client.run, args=(on_message, list, stop))
    thread.start()
    wait_for(server, lambda event: isinstance(event, Connected))
    server.send("north", b"end" + bytes(3_000_000))
    assert wait_for(server, lambda event: isinstance(event, Received)) == Received(
        "north", b"farewell" + bytes(2_000_000)
    )
    thread.join(5)
    assert not thread.is_alive()
    assert got == [b"end" + bytes(3_000_000)]


def test_what_was_sent_before_the_coordinator_stops_arrives_and_the_hospital_hears_why(
    consortium: Consortium, server: LinkServer
) -> None:
    got: list[bytes] = []
    told: list[str] = []
    stop, informed = threading.Event(), threading.Event()

    def on_message(message: bytes) -> list[bytes]:
        got.append(message)
        return []

    def on_problem(problem: ConnectProblem) -> None:
        told.append(str(problem))
        informed.set()

    client = LinkClient(
        f"127.0.0.1:{server.start()}",
        consortium.hospital_keys["north"],
        consortium.roster,
        on_problem=on_problem,
        entropy=os.urandom,
    )
    thread = threading.Thread(target=client.run, args=(on_message, list, stop))
    thread.start()
    try:
        wait_for(server, lambda event: isinstance(event, Connected))
        server.send("north", bytes(5_000_000))
        started = time.monotonic()
        server.stop()
        assert time.monotonic() - started < 1.5
        assert informed.wait(5)
    finally:
        stop.set()
        thread.join()
    assert got == [bytes(5_000_000)]
    assert "The coordinator stopped" in told[0]

"""Waiting for hospitals: deadlines, cuts, returns, and whose messages count."""

from __future__ import annotations

import sys
from collections import deque
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

import pytest

from coordinator import gather
from coordinator.gather import RECONNECT_GRACE_S, Gatherer, Silence
from coordinator.link import Connected, Disconnected, LinkEvent, Received
from coordinator.progress import Progress
from secagg.errors import ProtocolError
from secagg.wire import codec
from secagg.wire.records import Abort, StudyEnd
from tests.bent_link import ManualClock

HELLO = codec.pack("study_end", StudyEnd("done", ""))
OFFER, KEYS, ORDER = b"offer", b"keys", b"order"


@dataclass
class Script:
    """A link whose events come at set times; waiting moves the clock."""

    clock: ManualClock
    up: set[str]
    events: deque[tuple[float, LinkEvent]] = field(default_factory=deque)
    sent: list[tuple[str, bytes]] = field(default_factory=list)

    def at(self, when: float, *events: LinkEvent) -> Script:
        self.events.extend((when, event) for event in events)
        return self

    def send(self, hospital: str, message: bytes) -> None:
        self.sent.append((hospital, message))

    def receive(self, timeout_s: float) -> LinkEvent | None:
        end = self.clock.waited_s + timeout_s
        if not self.events or self.events[0][0] > end:
            self.clock.waited_s = end
            return None
        when, event = self.events.popleft()
        self.clock.waited_s = max(self.clock.waited_s, when)
        match event:
            case Connected(hospital, _):
                self.up.add(hospital)
            case Disconnected(hospital, _):
                self.up.discard(hospital)
        return event

    def connected(self) -> frozenset[str]:
        return frozenset(self.up)


@pytest.fixture
def link() -> Script:
    return Script(ManualClock(), {"a", "b"})


@pytest.fixture
def gatherer(link: Script) -> Gatherer:
    said: list[Progress] = []
    return Gatherer(link, link.clock, 10.0, said.append)


def anything(hospital: str, kind: str, message: bytes) -> bool:
    return True


BOTH = frozenset("ab")


def test_it_ends_as_soon_as_all_have_answered(link: Script, gatherer: Gatherer) -> None:
    link.at(1, Received("a", HELLO)).at(2, Received("b", HELLO))
    assert gatherer.gather("upload", BOTH, anything) == {}
    assert link.clock.waited_s == 2


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_the_deadline_silences_who_is_connected_and_says_nothing(link: Script, gatherer: Gatherer) -> None:
    link.at(1, Received("a", HELLO))
    assert gatherer.gather("agree", BOTH, anything) == {
        "b": Silence("b", "agree", "deadline", "no answer within 10 s")
    }
    assert link.clock.waited_s == 10


def test_a_cut_is_forgiven_for_the_grace_and_no_longer(link: Script, gatherer: Gatherer) -> None:
    link.at(1, Received("a", HELLO), Disconnected("b", "reset"))
    silent = gatherer.gather("open", BOTH, anything)
    assert silent == {"b": Silence("b", "open", "lost", "it was cut off: reset")}
    assert link.clock.waited_s == 1 + RECONNECT_GRACE_S


def test_who_is_back_within_the_grace_may_answer_until_the_deadline(link: Script, gatherer: Gatherer) -> None:
    link.at(1, Received("a", HELLO), Disconnected("b", "reset"))
    link.at(1 + RECONNECT_GRACE_S / 2, Connected("b", fresh=False)).at(9, Received("b", HELLO))
    assert gatherer.gather("open", BOTH, anything) == {}
    # The same process: the link itself resends, nothing is asked twice.
    assert link.sent == []


def test_who_is_back_too_late_is_out(link: Script, gatherer: Gatherer) -> None:
    link.at(1, Received("a", HELLO), Disconnected("b", "reset"))
    link.at(1.5 + RECONNECT_GRACE_S, Connected("b", fresh=False), Received("b", HELLO))
    assert set(gatherer.gather("open", BOTH, anything)) == {"b"}


def test_a_new_process_gets_the_greetings_and_its_last_request_again(
    link: Script, gatherer: Gatherer
) -> None:
    gatherer.greet("b", OFFER)
    gatherer.greet("b", KEYS)
    gatherer.ask("a", ORDER)
    gatherer.ask("b", ORDER)
    link.sent.clear()
    link.at(1, Received("a", HELLO), Disconnected("b", "gone"), Connected("b", fresh=True))
    link.at(2, Received("b", HELLO))
    assert gatherer.gather("upload", BOTH, anything) == {}
    assert link.sent == [("b", OFFER), ("b", KEYS), ("b", ORDER)]


def test_a_new_process_that_owes_nothing_gets_the_greetings_alone(link: Script, gatherer: Gatherer) -> None:
    gatherer.greet("b", OFFER)
    gatherer.ask("b", ORDER)
    link.sent.clear()
    link.at(1, Received("b", HELLO), Connected("b", fresh=True), Received("a", HELLO))
    assert gatherer.gather("upload", BOTH, anything) == {}
    assert link.sent == [("b", OFFER)]


def test_who_was_never_connected_has_the_grace_too(link: Script, gatherer: Gatherer) -> None:
    link.up.discard("b")
    link.at(0.5, Received("a", HELLO))
    silent = gatherer.gather("upload", BOTH, anything)
    assert silent["b"] == Silence("b", "upload", "lost", "it is not connected")
    link.up.discard("a")
    started = link.clock.waited_s
    link.at(started + 5, Connected("a", fresh=True), Received("a", HELLO))
    assert gatherer.gather("study", frozenset("a"), anything, grace_s=10.0) == {}


def test_enough_answers_end_the_wait_for_those_that_are_cut_off_only(
    link: Script, gatherer: Gatherer
) -> None:
    link.at(1, Received("a", HELLO), Disconnected("b", "reset"))
    silent = gatherer.gather("open", BOTH, anything, enough=lambda: True)
    assert silent["b"].kind == "lost"
    assert link.clock.waited_s == 1
    # One that is connected is waited for, however many have answered.
    link.at(2, Connected("b", fresh=False), Received("a", HELLO)).at(8, Received("b", HELLO))
    assert gatherer.gather("open", BOTH, anything, enough=lambda: True) == {}
    assert link.clock.waited_s == 8


def test_whether_enough_answered_is_asked_only_where_all_that_are_waited_for_are_cut_off(
    link: Script, gatherer: Gatherer
) -> None:
    asked: list[float] = []

    def enough() -> bool:
        asked.append(link.clock.waited_s)
        return True

    link.at(1, Received("a", HELLO)).at(2, Disconnected("b", "reset"))
    assert set(gatherer.gather("open", BOTH, anything, enough=enough)) == {"b"}
    assert asked == [2]


def steps_of_a_message(hospitals: int) -> int:
    """Lines of the wait and of what it defines that one message more runs, where so many hospitals are waited for."""

    def steps(messages: int) -> int:
        names = frozenset(f"h{place:03}" for place in range(hospitals))
        link = Script(ManualClock(), set(names))
        link.at(1, *(Received("h000", HELLO) for _ in range(messages)))
        ran = 0

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal ran
            if frame.f_code.co_filename != gather.__file__:
                return None
            ran += event == "line"
            return trace

        before = sys.gettrace()
        sys.settrace(trace)
        try:
            Gatherer(link, link.clock, 60.0, lambda _: None).gather("upload", names, lambda *_: False)
        finally:
            sys.settrace(before)
        return ran

    return steps(2) - steps(1)


def test_a_message_costs_the_same_however_many_hospitals_are_waited_for() -> None:
    assert 0 < steps_of_a_message(5) == steps_of_a_message(300)


def test_what_take_refuses_silences_the_sender_with_the_reason(link: Script, gatherer: Gatherer) -> None:
    def picky(hospital: str, kind: str, message: bytes) -> bool:
        if hospital == "b":
            raise ProtocolError("not what was asked for")
        return True

    link.at(1, Received("b", HELLO), Received("a", HELLO))
    silent = gatherer.gather("upload", BOTH, picky)
    assert silent == {"b": Silence("b", "upload", "refused", "not what was asked for", "b")}


def test_what_is_no_message_silences_the_sender(link: Script, gatherer: Gatherer) -> None:
    link.at(1, Received("b", b"\xff\xff"), Received("a", HELLO))
    assert gatherer.gather("upload", BOTH, anything)["b"].kind == "refused"


def test_an_abort_counts_for_its_round_and_for_round_zero_alone(link: Script, gatherer: Gatherer) -> None:
    def abort(number: int) -> bytes:
        return codec.pack("abort", Abort(number, "no", "x"))

    link.at(1, Received("a", abort(6)), Received("a", abort(7)), Received("b", abort(0)))
    silent = gatherer.gather("agree", BOTH, anything, round_number=7)
    assert silent == {
        "a": Silence("a", "agree", "abort", "no", "x"),
        "b": Silence("b", "agree", "abort", "no", "x"),
    }
    link.at(2, Received("a", abort(6)), Received("a", HELLO))
    assert gatherer.gather("agree", frozenset("a"), anything, round_number=7) == {}


def test_messages_of_others_do_not_count(link: Script, gatherer: Gatherer) -> None:
    link.at(1, Received("stranger", b"\xff"), Received("a", HELLO))
    assert gatherer.gather("agree", frozenset("a"), anything) == {}


def test_it_goes_on_until_take_says_done(link: Script, gatherer: Gatherer) -> None:
    seen: list[str] = []

    def third(hospital: str, kind: str, message: bytes) -> bool:
        seen.append(kind)
        return len(seen) == 3

    link.at(1, *[Received("a", HELLO)] * 3)
    assert gatherer.gather("upload", frozenset("a"), third) == {}
    assert seen == ["study_end"] * 3


def test_a_quorum_is_waited_for_until_the_deadline(link: Script, gatherer: Gatherer) -> None:
    link.up = {"a"}
    gatherer.greet("b", OFFER)
    link.at(4, Connected("b", fresh=True))
    assert gatherer.await_quorum(BOTH, 2)
    assert (link.clock.waited_s, link.sent) == (4, [("b", OFFER)])
    link.at(5, Disconnected("b", "gone"))
    link.clock.waited_s = 5
    link.up = {"a"}
    assert not gatherer.await_quorum(BOTH, 2)
    assert link.clock.waited_s == 15


def test_who_came_back_is_let_in_although_enough_are_there(link: Script, gatherer: Gatherer) -> None:
    link.up = {"a"}
    link.at(0, Connected("b", fresh=False))
    assert gatherer.await_quorum(BOTH, 1)
    assert link.connected() == BOTH
    assert link.clock.waited_s == 0

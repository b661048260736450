"""Whatever is cut, whenever: every message arrives once, in order. Whatever comes: nothing but the framing's own errors."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st

from privacy.link.framing import Endpoint, FrameError, Hello, Limits, MessageTooLarge

LIMITS = Limits(payload_bytes=4, message_bytes=64, queue_bytes=100_000, inbox_bytes=64)
# Room for a few messages in one frame.
WIDE = Limits(payload_bytes=100, message_bytes=64, queue_bytes=100_000, inbox_bytes=64)
MESSAGES = st.lists(st.binary(min_size=1, max_size=20), max_size=12)


class Side:
    def __init__(self, messages: list[bytes], limits: Limits) -> None:
        self.endpoint = Endpoint(limits)
        self.to_send = list(messages)
        self.got: list[bytes] = []
        self.in_flight: list[bytes] = []

    def speak(self) -> None:
        if self.to_send:
            self.endpoint.send(self.to_send.pop(0))

    def write(self) -> None:
        frame = self.endpoint.next_frame()
        if frame is not None:
            self.in_flight.append(frame)

    def read_from(self, other: Side) -> None:
        if other.in_flight:
            self.got += self.endpoint.receive(other.in_flight.pop(0))


@settings(max_examples=300, deadline=None)
@given(
    MESSAGES,
    MESSAGES,
    st.lists(st.tuples(st.sampled_from(["speak", "write", "read", "cut"]), st.booleans()), max_size=200),
    st.sampled_from([LIMITS, WIDE]),
)
def test_every_message_arrives_once_and_in_order_through_any_cuts(
    left_says: list[bytes], right_says: list[bytes], steps: list[tuple[str, bool]], limits: Limits
) -> None:
    left, right = Side(left_says, limits), Side(right_says, limits)
    rest = [(step, who) for _ in range(400) for step in ("speak", "write", "read") for who in (True, False)]
    for step, is_left in [*steps, ("cut", True), *rest]:
        me, other = (left, right) if is_left else (right, left)
        match step:
            case "speak":
                me.speak()
            case "write":
                me.write()
            case "read":
                me.read_from(other)
            case _:
                # Frames on the way are lost; each side greets with what it has.
                left.in_flight, right.in_flight = [], []
                have_left, have_right = left.endpoint.received, right.endpoint.received
                left.endpoint.resume(have_right)
                right.endpoint.resume(have_left)
        assert right.got == left_says[: len(right.got)]
        assert left.got == right_says[: len(left.got)]
    assert right.got == left_says
    assert left.got == right_says
    assert left.endpoint.idle
    assert right.endpoint.idle


@given(st.lists(st.binary(max_size=80), max_size=5))
def test_no_bytes_crash_the_reader(frames: list[bytes]) -> None:
    endpoint = Endpoint(LIMITS)
    for frame in frames:
        with contextlib.suppress(FrameError, MessageTooLarge):
            assert all(len(message) <= LIMITS.message_bytes for message in endpoint.receive(frame))
        with contextlib.suppress(FrameError):
            Hello.decode(frame)


@given(
    st.binary(min_size=16, max_size=16).filter(any),
    st.none() | st.binary(min_size=16, max_size=16).filter(any),
    st.integers(0, 2**64 - 1),
)
def test_a_greeting_round_trips(process: bytes, peer: bytes | None, received: int) -> None:
    hello = Hello(process, peer, received)
    assert Hello.decode(hello.encode()) == hello

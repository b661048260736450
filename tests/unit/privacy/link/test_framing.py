"""The framing's bounds and refusals, one by one."""

from __future__ import annotations

import tracemalloc

import pytest

from privacy.link.framing import (
    _DATA_FORM,
    FRAME_BYTES,
    LONG_BYTES,
    Endpoint,
    FrameError,
    Hello,
    Limits,
    MessageTooLarge,
    QueueFull,
)

LIMITS = Limits(payload_bytes=10, message_bytes=30, queue_bytes=50, inbox_bytes=30)


def frames_of(endpoint: Endpoint) -> list[bytes]:
    frames = []
    while (frame := endpoint.next_frame()) is not None:
        frames.append(frame)
    return frames


def test_a_message_is_split_and_joined() -> None:
    here, there = Endpoint(LIMITS), Endpoint(LIMITS)
    here.send(b"0123456789abcdefghijkl")
    frames = frames_of(here)
    assert len(frames) == 3
    assert [there.receive(frame) for frame in frames] == [[], [], [b"0123456789abcdefghijkl"]]
    assert not here.idle
    (acknowledgement,) = frames_of(there)
    assert here.receive(acknowledgement) == []
    assert here.idle


def test_short_messages_that_wait_together_travel_in_one_frame() -> None:
    limits = Limits(payload_bytes=200, message_bytes=500, queue_bytes=1000, inbox_bytes=500)
    here, there = Endpoint(limits), Endpoint(limits)
    messages = [b"one", b"two", b"three", b"4" * 90, b"5" * 500]
    for message in messages:
        here.send(message)
    frames = frames_of(here)
    # Three short ones; the fourth does not fit beside them; the fifth is three chunks, none of which has room for another.
    assert len(frames) == 5
    assert all(len(frame) <= 200 + 38 for frame in frames)
    assert [there.receive(frame) for frame in frames] == [messages[:3], [messages[3]], [], [], [messages[4]]]
    assert there.received == 7
    assert here.receive(frames_of(there)[0]) == []
    assert here.idle


def test_the_longest_joined_frame_is_taken() -> None:
    limits = Limits(payload_bytes=FRAME_BYTES - 38)
    here, there = Endpoint(limits), Endpoint(limits)
    messages = [b"one", bytes(FRAME_BYTES - 38 - 37 - 3)]
    for message in messages:
        here.send(message)
    (frame,) = frames_of(here)
    assert len(frame) == FRAME_BYTES
    assert there.receive(frame) == messages
    with pytest.raises(FrameError, match="too long"):
        Endpoint(limits).receive(frame + b"x")


@pytest.mark.parametrize(
    ("inside", "problem"),
    [
        (b"", "unknown kind"),
        (b"\x00\x00\x00", "within a length"),
        (b"\x00\x00\x00\x09\x01", "within a frame"),
        (b"\x00\x00\x00\x00", "or none"),
        (b"\x00\x00\x00\x09\x02" + bytes(8), "or none"),
        (b"\x00\x00\x00\x24\x03" + bytes(35), "or none"),
    ],
)
def test_only_whole_data_frames_are_joined(inside: bytes, problem: str) -> None:
    with pytest.raises(FrameError, match=problem):
        Endpoint(LIMITS).receive(b"\x03" + inside)


def test_a_frame_is_never_taken_twice_nor_skipped() -> None:
    here, there = Endpoint(LIMITS), Endpoint(LIMITS)
    here.send(b"one")
    here.send(b"two")
    first, second = frames_of(here)
    with pytest.raises(FrameError, match="frame 1 came where frame 0 was due"):
        there.receive(second)
    there.receive(first)
    with pytest.raises(FrameError, match="frame 0 came where frame 1 was due"):
        there.receive(first)


def test_what_waits_for_the_peer_is_bounded_and_freed_by_its_acknowledgement() -> None:
    here, there = Endpoint(LIMITS), Endpoint(LIMITS)
    with pytest.raises(MessageTooLarge, match="31 bytes is above the link's limit of 30"):
        here.send(bytes(31))
    with pytest.raises(ValueError, match="empty"):
        here.send(b"")
    here.send(bytes(30))
    with pytest.raises(QueueFull, match="30 bytes wait"):
        here.send(bytes(21))
    for frame in frames_of(here):
        there.receive(frame)
    here.receive(frames_of(there)[0])
    here.send(bytes(30))


def test_an_announced_length_above_the_limit_is_refused_at_its_first_byte() -> None:
    frame = b"\x01" + bytes(16) + (31).to_bytes(8) + bytes(8) + b"x"
    with pytest.raises(MessageTooLarge):
        Endpoint(LIMITS).receive(frame)


def test_a_million_tiny_chunks_cost_no_more_than_their_bytes() -> None:
    """A peer may cut a message into chunks of one byte; keeping each as an object would cost a hundred times as much."""
    endpoint = Endpoint(Limits())
    total = 50_000
    tracemalloc.start()
    for number in range(total - 1):
        endpoint.receive(
            b"\x01" + number.to_bytes(8) + bytes(8) + total.to_bytes(8) + number.to_bytes(8) + b"x"
        )
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 4 * total


def test_a_peer_cannot_claim_what_was_not_sent_or_take_back_what_it_had() -> None:
    here, there = Endpoint(LIMITS), Endpoint(LIMITS)
    here.send(b"one")
    with pytest.raises(FrameError, match="acknowledges"):
        here.resume(1)
    there.receive(frames_of(here)[0])
    here.receive(frames_of(there)[0])
    with pytest.raises(FrameError, match="acknowledges"):
        here.resume(0)


def test_limits_fit_together() -> None:
    with pytest.raises(ValueError, match="payload"):
        Limits(payload_bytes=FRAME_BYTES)
    with pytest.raises(ValueError, match="fit into the queue"):
        Limits(message_bytes=10, queue_bytes=9)


def test_a_greeting_of_another_version_says_so() -> None:
    other = bytearray(Hello(b"p" * 16, None, 0).encode())
    other[2] = 9
    with pytest.raises(FrameError, match="version 9 of the link, this side version 2"):
        Hello.decode(bytes(other))


def test_a_small_part_of_a_joined_frame_does_not_keep_all_of_it() -> None:
    """One chunk that is worth a view, then chunks of one byte: the frame is twenty times what it brings."""
    there, total, number, have = Endpoint(Limits()), 100 << 20, 0, 0
    tracemalloc.start()
    for _ in range(10):
        parts = [b"\x03"]
        for length in (LONG_BYTES, *[1] * 5000):
            data = _DATA_FORM.pack(1, number, 0, total, have) + bytes(length)
            parts.append(len(data).to_bytes(4, "big") + data)
            number, have = number + 1, have + length
        assert there.receive(b"".join(parts)) == []
        del parts, data
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept < 2 * have

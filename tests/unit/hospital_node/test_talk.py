"""What waits at the hospital to be handled is bounded in memory, not in payload alone."""

from __future__ import annotations

from hospital_node.talk import Message, Met, Talk
from privacy.link.framing import MESSAGE_BYTES, Endpoint, Hello, Limits

PEER = b"c" * 16


def test_many_messages_of_one_byte_fill_the_inbox() -> None:
    limits = Limits(inbox_bytes=10 * MESSAGE_BYTES)
    talk, coordinator = Talk(b"h" * 16, limits), Endpoint(limits)
    talk.meet(Hello(PEER, None, 0))
    assert talk.get(0.1) == Met(1)
    for _ in range(10):
        coordinator.send(b"x")
    frame = coordinator.next_frame()
    assert frame is not None
    talk.take(frame)
    assert not talk.has_room()
    for _ in range(10):
        assert talk.get(0.1) == Message(1, b"x")
    assert talk.has_room()
    assert talk._unread == 0

"""What waits at the coordinator to be handled is bounded in memory, not in payload alone."""

from __future__ import annotations

from coordinator.sessions import Connected, Received, Sessions
from privacy.link.framing import MESSAGE_BYTES, Endpoint, Hello, Limits


class Quiet:
    """A stream that nobody looks at."""

    def poke(self) -> None:
        """Nothing waits."""

    def end(self, reason: str) -> None:
        """Nothing to end."""


def test_many_messages_of_one_byte_fill_the_inbox() -> None:
    limits = Limits(inbox_bytes=10 * MESSAGE_BYTES)
    sessions, hospital, stream = Sessions(["a"], b"c" * 16, limits), Endpoint(limits), Quiet()
    session, _ = sessions.attach("a", Hello(b"h" * 16, None, 0), stream)
    assert sessions.receive(0.1) == Connected("a", fresh=True)
    for _ in range(10):
        hospital.send(b"x")
    frame = hospital.next_frame()
    assert frame is not None
    sessions.take(session, stream, frame)
    assert not sessions.has_room(session)
    for _ in range(10):
        assert sessions.receive(0.1) == Received("a", b"x")
    assert sessions.has_room(session)
    assert session.unread == 0

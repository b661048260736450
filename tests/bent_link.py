"""A link between a coordinator and real nodes in one process that a test may bend, and a clock that stands still until somebody waits."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from coordinator.link import Connected, Disconnected, LinkEvent, Received
from deploy.local_link import LocalLink
from hospital_node.node import Node
from secagg.wire import codec

START = datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC)


@dataclass(slots=True)
class ManualClock:
    """Time stands still until somebody waits."""

    waited_s: float = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.waited_s)

    def monotonic_s(self) -> float:
        return self.waited_s


# What happens to one message on its way: (hospital, kind, bytes) -> the messages that arrive instead.
Bend = Callable[[str, str, bytes], Iterable[bytes]]


def straight(hospital: str, kind: str, message: bytes) -> Iterable[bytes]:
    """Every message arrives as it was sent."""
    return (message,)


class BentLink(LocalLink):
    """A LocalLink whose time is the test's clock, with a bend in each direction.

    Attributes:
        down: bends what goes to hospitals.
        up: bends what hospitals answer.
        sent, answered: (hospital, kind, message) as they arrived.
    """

    def __init__(self, nodes: dict[str, Node], clock: ManualClock) -> None:
        super().__init__(nodes)
        self.nodes = nodes
        self.clock = clock
        self.down: Bend = straight
        self.up: Bend = straight
        self.sent: list[tuple[str, str, bytes]] = []
        self.answered: list[tuple[str, str, bytes]] = []

    def send(self, hospital: str, message: bytes) -> None:
        if hospital not in self._connected:
            return
        for bent in self.down(hospital, codec.unwrap(message)[0], message):
            self.sent.append((hospital, codec.unwrap(bent)[0], bent))
            for reply in self.nodes[hospital].on_message(bent):
                kind = codec.unwrap(reply)[0]
                for arrived in self.up(hospital, kind, reply):
                    self.answered.append((hospital, kind, arrived))
                    self.put(hospital, arrived)

    def put(self, hospital: str, message: bytes) -> None:
        """A message that arrives at the coordinator."""
        self._events.append(Received(hospital, message))

    def receive(self, timeout_s: float) -> LinkEvent | None:
        event = super().receive(timeout_s)
        match event:
            case None:
                self.clock.waited_s += max(timeout_s, 1e-3)
            case Disconnected(hospital, _):
                self._connected.discard(hospital)
        return event

    def cut(self, hospital: str) -> None:
        """The connection of a hospital breaks."""
        self._connected.discard(hospital)
        self._events.append(Disconnected(hospital, "the peer went away"))

    def back(self, hospital: str, *, fresh: bool) -> None:
        """It dials in again; `fresh` from a new process."""
        self._events.append(Connected(hospital, fresh))

    def kinds(self, hospital: str) -> list[str]:
        """What a hospital answered, in order, without its vector chunks' repetitions."""
        return [kind for who, kind, _ in self.answered if who == hospital]

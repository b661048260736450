"""The link of a simulation: the real hospital nodes in one process, messages handed over as bytes."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from coordinator.link import Connected, LinkEvent, Received
from hospital_node.node import Node


class LocalLink:
    """Delivers each message to its node at once and queues what the node answers."""

    def __init__(self, nodes: Mapping[str, Node]) -> None:
        self._nodes = nodes
        self._events: deque[LinkEvent] = deque(Connected(hospital, fresh=True) for hospital in sorted(nodes))
        self._connected: set[str] = set()

    def send(self, hospital: str, message: bytes) -> None:
        for reply in self._nodes[hospital].on_message(message):
            self._events.append(Received(hospital, reply))

    def receive(self, timeout_s: float) -> LinkEvent | None:
        """The next event; in one process nothing can come later, so it never waits."""
        if not self._events:
            return None
        event = self._events.popleft()
        if isinstance(event, Connected):
            self._connected.add(event.hospital)
        return event

    def connected(self) -> frozenset[str]:
        return frozenset(self._connected)

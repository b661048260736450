"""Who is connected, what waits for whom, what came: the part of the link between the event loop and the round engine's thread.

A session is the talk with one hospital *process*; it outlives cuts. A stream is one connection; a session has at most one. All state is behind
one lock, held for microseconds.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Protocol

from privacy.link.framing import MESSAGE_BYTES, Endpoint, Hello, Limits
from privacy.link.transport_rules import REPLACED


@dataclass(frozen=True, slots=True)
class Connected:
    """A hospital's stream is up; `fresh` says that its process is a new one."""

    hospital: str
    fresh: bool


@dataclass(frozen=True, slots=True)
class Received:
    """One whole message of a hospital."""

    hospital: str
    message: bytes


@dataclass(frozen=True, slots=True)
class Disconnected:
    """A hospital's stream ended; `reason` is one sentence."""

    hospital: str
    reason: str


LinkEvent = Connected | Received | Disconnected


class Stream(Protocol):
    """One connection, seen from any thread."""

    def poke(self) -> None:
        """Look again: there may be something to write, or room to read."""

    def end(self, reason: str) -> None:
        """Finish; called in the loop's thread."""


class Session:
    """The talk with one hospital process.

    `opened` is set when the round engine was told of it, `unread` counts the bytes that wait for `receive`, with `MESSAGE_BYTES` for each message.
    """

    def __init__(self, hospital: str, process: bytes, limits: Limits) -> None:
        self.hospital = hospital
        self.process = process
        self.endpoint = Endpoint(limits)
        self.opened = False
        self.unread = 0
        self.stream: Stream | None = None


class StreamReplaced(Exception):
    """This stream is not its session's any more."""


class Sessions:
    """The sessions of one coordinator process, by hospital."""

    def __init__(self, hospitals: Collection[str], process: bytes, limits: Limits) -> None:
        """`process` is this process's name, 16 random bytes."""
        self._hospitals = frozenset(hospitals)
        self._process = process
        self._limits = limits
        self._lock = threading.Lock()
        self._sessions: dict[str, Session] = {}
        self._events: queue.SimpleQueue[tuple[LinkEvent, Session]] = queue.SimpleQueue()

    def attach(self, hospital: str, hello: Hello, stream: Stream) -> tuple[Session, Hello]:
        """Make `stream` the hospital's only one; go on with its session if both processes are those of before.

        Returns: the session, and the greeting to answer with. Raises FrameError when the peer claims frames that were never sent.
        """
        with self._lock:
            old = self._sessions.get(hospital)
            resumed = old is not None and old.process == hello.process and hello.peer == self._process
            if old is not None and old.stream is not None:
                old.stream.end(REPLACED)
                self._close(old, REPLACED)
            if old is not None and resumed:
                session = old
                session.endpoint.resume(hello.received)
            else:
                session = Session(hospital, hello.process, self._limits)
            session.stream = stream
            self._sessions[hospital] = session
            self._events.put((Connected(hospital, fresh=not resumed), session))
            return session, Hello(
                self._process, hello.process if resumed else None, session.endpoint.received
            )

    def detach(self, session: Session, stream: Stream, reason: str) -> None:
        """The stream ended; nothing happens if another replaced it before."""
        with self._lock:
            if session.stream is stream:
                self._close(session, reason)

    def forget(self, session: Session) -> None:
        """After broken framing: resuming would bring the same frame again, so the next connection starts from nothing."""
        with self._lock:
            if self._sessions.get(session.hospital) is session:
                session.process = b""

    def take(self, session: Session, stream: Stream, frame: bytes) -> int:
        """A frame was read; says how many the hospital waits to hear of. Raises StreamReplaced, FrameError, MessageTooLarge."""
        with self._lock:
            if session.stream is not stream:
                raise StreamReplaced
            for message in session.endpoint.receive(frame):
                session.unread += len(message) + MESSAGE_BYTES
                self._events.put((Received(session.hospital, message), session))
            return session.endpoint.owed

    def has_room(self, session: Session) -> bool:
        """False while so much waits for `receive` that reading should pause."""
        with self._lock:
            return session.unread < self._limits.inbox_bytes

    def next_frame(self, session: Session, stream: Stream, acknowledge: bool) -> bytes | None:
        """What to write next on the stream, None for nothing. Raises StreamReplaced."""
        with self._lock:
            if session.stream is not stream:
                raise StreamReplaced
            return session.endpoint.next_frame(acknowledge)

    def send(self, hospital: str, message: bytes) -> None:
        """See `LinkServer.send`."""
        if hospital not in self._hospitals:
            raise KeyError(f"{hospital} is no hospital of this roster")
        with self._lock:
            session = self._sessions.get(hospital)
            if session is None or not session.opened:
                return
            session.endpoint.send(message)
            if session.stream is not None:
                session.stream.poke()

    def receive(self, timeout_s: float) -> LinkEvent | None:
        """See `LinkServer.receive`."""
        try:
            event, session = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        with self._lock:
            match event:
                case Connected():
                    session.opened = True
                case Received():
                    was_full = session.unread >= self._limits.inbox_bytes
                    session.unread -= len(event.message) + MESSAGE_BYTES
                    if was_full and session.stream is not None:
                        session.stream.poke()
                case Disconnected():
                    pass
        return event

    def connected(self) -> frozenset[str]:
        """The hospitals whose stream is up and whose Connected event was handed out."""
        with self._lock:
            return frozenset(h for h, s in self._sessions.items() if s.opened and s.stream is not None)

    def streams(self) -> tuple[Stream, ...]:
        """Every stream that is up."""
        with self._lock:
            return tuple(s.stream for s in self._sessions.values() if s.stream is not None)

    def flushed(self) -> bool:
        """True when every hospital that is connected has everything."""
        with self._lock:
            return all(s.endpoint.idle for s in self._sessions.values() if s.stream is not None)

    def _close(self, session: Session, reason: str) -> None:
        session.stream = None
        self._events.put((Disconnected(session.hospital, reason), session))

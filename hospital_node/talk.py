"""What the hospital and its coordinator have said to each other: the part of the link between the event loop and the thread that works.

Each coordinator process that is met anew starts a *generation*; items of an older one are not handed out, and answers to them are not sent.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass

from hospital_node.diagnosis import ConnectProblem
from privacy.link.framing import MESSAGE_BYTES, Endpoint, FrameError, Hello, Limits


@dataclass(frozen=True, slots=True)
class Met:
    """A coordinator process that this process has not talked to before."""

    generation: int


@dataclass(frozen=True, slots=True)
class Message:
    """One whole message of the coordinator."""

    generation: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no connection."""

    problem: ConnectProblem


@dataclass(frozen=True, slots=True)
class Broken:
    """The link's thread ended by an error of ours."""

    error: Exception


Item = Met | Message | Trouble | Broken


class Talk:
    """Thread-safe; `process` is the name of this process, 16 random bytes."""

    def __init__(self, process: bytes, limits: Limits) -> None:
        self._poke: Callable[[], None] | None = None
        self._process = process
        self._limits = limits
        self._lock = threading.Lock()
        self._coordinator: bytes | None = None
        self._generation = 0
        self._endpoint = Endpoint(limits)
        self._unread = 0
        self._items: queue.SimpleQueue[Item] = queue.SimpleQueue()

    def hello(self) -> Hello:
        """The greeting for a new stream."""
        with self._lock:
            return Hello(self._process, self._coordinator, self._endpoint.received)

    def meet(self, answer: Hello) -> None:
        """Take the coordinator's greeting: go on, or start from nothing. Raises FrameError."""
        with self._lock:
            if answer.peer is None:
                self._coordinator = answer.process
                self._endpoint = Endpoint(self._limits)
                self._generation += 1
                self._unread = 0
                self._items.put(Met(self._generation))
            elif answer.peer == self._process and answer.process == self._coordinator:
                self._endpoint.resume(answer.received)
            else:
                raise FrameError("the coordinator resumes a talk that this process did not have")

    def forget(self) -> None:
        """After broken framing: resuming would bring the same frame again."""
        with self._lock:
            self._coordinator = None

    def take(self, frame: bytes) -> int:
        """A frame was read; says how many the coordinator waits to hear of. Raises FrameError, MessageTooLarge."""
        with self._lock:
            for body in self._endpoint.receive(frame):
                self._unread += len(body) + MESSAGE_BYTES
                self._items.put(Message(self._generation, body))
            return self._endpoint.owed

    def has_room(self) -> bool:
        """False while so much waits to be handled that reading should pause."""
        with self._lock:
            return self._unread < self._limits.inbox_bytes

    def next_frame(self, acknowledge: bool) -> bytes | None:
        """What to write next, None for nothing."""
        with self._lock:
            return self._endpoint.next_frame(acknowledge)

    def flushed(self) -> bool:
        """True when the coordinator has everything, or cannot be reached."""
        with self._lock:
            return self._poke is None or self._endpoint.idle

    def send(self, generation: int, *messages: bytes) -> None:
        """Queue answers; dropped when their generation is over. Raises QueueFull, MessageTooLarge."""
        with self._lock:
            if generation == self._generation:
                for message in messages:
                    self._endpoint.send(message)
                self._wake()

    def report(self, item: Trouble | Broken) -> None:
        """Hand something to the working thread that did not come from the coordinator."""
        self._items.put(item)

    def get(self, timeout_s: float) -> Item | None:
        """The next item of this generation; None after the timeout."""
        try:
            item = self._items.get(timeout=timeout_s)
        except queue.Empty:
            return None
        with self._lock:
            match item:
                case Met() | Message() if item.generation != self._generation:
                    return None
                case Message():
                    was_full = self._unread >= self._limits.inbox_bytes
                    self._unread -= len(item.body) + MESSAGE_BYTES
                    if was_full:
                        self._wake()
        return item

    def set_poke(self, poke: Callable[[], None] | None) -> None:
        """A stream is up, or none is."""
        with self._lock:
            self._poke = poke

    def _wake(self) -> None:
        if self._poke is not None:
            self._poke()

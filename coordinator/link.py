"""The coordinator's end of the link: one mutual-TLS gRPC stream per hospital behind a thread-safe facade.

What the round engine may rely on:

- `receive` hands out events in order; `Connected(fresh=True)` means a new hospital process (or the first connection), `fresh=False` the same
  process after a cut: nothing was lost, nothing comes twice.
- `send` never blocks. To a hospital that is cut off messages wait (bounded) until the same process is back. What was sent before a
  `Connected(fresh=True)` was handed out by `receive` is dropped: a new process knows nothing of it, so the engine resends its last request
  on that event and it arrives exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from privacy.member_keys import MemberKeys
from privacy.roster_file import TrustedRoster


@dataclass(frozen=True, slots=True)
class Connected:
    """A hospital's stream is up."""

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


class Link(Protocol):
    """What the round engine needs of a link; `LinkServer` is the real one."""

    def send(self, hospital: str, message: bytes) -> None: ...

    def receive(self, timeout_s: float) -> LinkEvent | None: ...

    def connected(self) -> frozenset[str]: ...


class LinkServer:
    """Listens on `address` ("host:port", port 0 picks a free one) in a background thread."""

    def __init__(self, address: str, keys: MemberKeys, roster: TrustedRoster) -> None:
        raise NotImplementedError

    def start(self) -> int:
        """Listen; returns the port."""
        raise NotImplementedError

    def stop(self) -> None:
        """End all streams; leaves no thread."""
        raise NotImplementedError

    def send(self, hospital: str, message: bytes) -> None:
        """Queue `message`. Raises QueueFull, MessageTooLarge, KeyError for an id that is not on the roster."""
        raise NotImplementedError

    def receive(self, timeout_s: float) -> LinkEvent | None:
        """The next event, None after `timeout_s` seconds without one."""
        raise NotImplementedError

    def connected(self) -> frozenset[str]:
        """The hospitals whose stream is up and whose Connected event was handed out."""
        raise NotImplementedError

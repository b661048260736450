"""When a side of the link has to say how many frames came, though it has nothing else to say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from privacy.link.framing import ACK_DELAY_S, ACK_EVERY


class Alarm(Protocol):
    """A call that is due later."""

    def cancel(self) -> None:
        """Let it not come."""


class AckTimer:
    """One alarm for a stream, set by its event loop: it wakes the writer when an acknowledgment has waited long enough.

    It is not set anew with each frame, and a frame that is read does not wake the writer: nearly every acknowledgment rides on data.
    """

    def __init__(
        self, call_later: Callable[[float, Callable[[], None]], Alarm], wake: Callable[[], None]
    ) -> None:
        """Nothing is owed yet.

        Args:
            call_later: sets an alarm in so many seconds.
            wake: makes the writer look again.
        """
        self._call_later = call_later
        self._wake = wake
        self._alarm: Alarm | None = None
        self._due = False

    def owe(self, frames: int) -> None:
        """So many frames are not acknowledged."""
        if frames >= ACK_EVERY:
            self._wake()
        elif frames and self._alarm is None:
            self._alarm = self._call_later(ACK_DELAY_S, self._now)

    def take(self) -> bool:
        """Whether it has waited long enough; asked once for each time that it has."""
        due, self._due = self._due, False
        return due

    def stop(self) -> None:
        """The stream is over."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _now(self) -> None:
        self._alarm, self._due = None, True
        self._wake()

"""When a side of the link has to say how many frames came, though it has nothing else to say."""

from __future__ import annotations

import asyncio

from privacy.framing import ACK_DELAY_S, ACK_EVERY


class AckTimer:
    """One timer for a stream, belonging to its event loop: it wakes the writer when an acknowledgment has waited long enough.

    It is not set anew with each frame, and a frame that is read does not wake the writer: nearly every acknowledgment rides on data.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, wake: asyncio.Event) -> None:
        self.wake = wake
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._due = False

    def owe(self, frames: int) -> None:
        """So many frames are not acknowledged."""
        if frames >= ACK_EVERY:
            self.wake.set()
        elif frames and self._timer is None:
            self._timer = self._loop.call_later(ACK_DELAY_S, self._now)

    def take(self) -> bool:
        """Whether it has waited long enough; asked once for each time that it has."""
        due, self._due = self._due, False
        return due

    def stop(self) -> None:
        """The stream is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _now(self) -> None:
        self._timer, self._due = None, True
        self.wake.set()

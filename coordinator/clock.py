"""The only place of the coordinator that reads the time."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """What the coordinator may ask about time."""

    def now(self) -> datetime:
        """Wall clock, UTC."""

    def monotonic_s(self) -> float:
        """Seconds that never run backwards, for deadlines and durations."""


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        return time.monotonic()

"""The hospital's only reader of the time."""

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for durations."""

    def now(self) -> datetime:
        """The time in UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment, never going back."""
        ...


class SystemClock:
    """The operating system's clocks."""

    def now(self) -> datetime:
        """The time in UTC."""
        return datetime.now(UTC)

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment, never going back."""
        return time.monotonic()


def iso_time(moment: datetime) -> str:
    """RFC 3339 in UTC to the second, `2026-01-31T12:00:00Z`."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

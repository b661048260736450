"""Times are written in UTC to the second."""

from datetime import UTC, datetime, timedelta, timezone

from hospital_node.clock import SystemClock, iso_time


def test_iso_time_is_utc_whatever_the_zone() -> None:
    moment = datetime(2026, 1, 31, 13, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=1)))
    assert iso_time(moment) == "2026-01-31T12:00:00Z"


def test_the_system_clock_knows_its_zone_and_never_goes_back() -> None:
    clock = SystemClock()
    assert clock.now().tzinfo is UTC
    assert clock.monotonic_s() <= clock.monotonic_s()

"""Certificates: expired, about to expire, and not yet valid, which is a clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.doctor_setting import Setting, make_setting
from tests.process.link_setup import FixedClock, make_consortium

NOW = datetime.now(UTC)


def test_valid_for_long(setting: Setting) -> None:
    assert setting.outcome("certificates").finding.result == "ok"


def test_expired_and_about_to(tmp_path: Path) -> None:
    days = {"north": 10, "coordinator": 50}
    made = make_setting(
        tmp_path, make_consortium(tmp_path / "c", made=NOW - timedelta(days=30), valid_days=days)
    )
    found = made.outcome("certificates").finding
    assert found.result == "failed"
    assert f"of this hospital expired on {NOW - timedelta(days=20):%Y-%m-%d}" in found.found
    assert "makes new keys with `init`" in found.remedy
    # A week before it: both within the next 30 days or nearly so.
    early = FixedClock(NOW - timedelta(days=22))
    found = made.outcome("certificates", made.case(clock=early)).finding
    assert found.result == "warn"
    assert "this hospital expires on" in found.found
    assert "the coordinator" not in found.found
    late = FixedClock(NOW - timedelta(days=9))
    assert made.outcome("certificates", made.case(clock=late)).finding.result == "failed"


def test_not_yet_valid_is_a_clock(setting: Setting) -> None:
    found = setting.outcome("certificates", setting.case(clock=FixedClock(NOW - timedelta(days=400)))).finding
    assert (found.result, "is valid from" in found.found) == ("failed", True)
    assert "set this machine's clock by NTP" in found.remedy

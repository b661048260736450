"""Admission by certificate, addresses, delays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from privacy.link.certificates import make_certificate, read_certificate
from privacy.link.transport_rules import (
    CIPHER_SUITES,
    AddressError,
    NotAdmitted,
    Pin,
    admit,
    grpc_environment,
    reconnect_delay_s,
    split_address,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
_, PEM = make_certificate("north", "hospital", bytes(range(48)), bytes(range(16)), NOW, 30)
PINS = {read_certificate(PEM).sha256: Pin("north", "hospital")}


def test_a_member_is_known_by_its_certificate() -> None:
    assert admit(PINS, "hospital", b"TLSv1.3", PEM, NOW) == "north"


@pytest.mark.parametrize(
    ("pins", "version", "pem", "now", "kind", "words"),
    [
        (PINS, b"TLSv1.2", PEM, NOW, "tls", "speaks TLSv1.2, only TLSv1.3"),
        (PINS, b"no TLS", PEM, NOW, "tls", "speaks no TLS"),
        ({}, b"TLSv1.3", PEM, NOW, "unknown", "is not in the roster"),
        (PINS, b"TLSv1.3", b"", NOW, "unknown", "not a readable PEM certificate"),
        (
            {next(iter(PINS)): Pin("center", "coordinator")},
            b"TLSv1.3",
            PEM,
            NOW,
            "role",
            "only a hospital may connect",
        ),
        (PINS, b"TLSv1.3", PEM, NOW + timedelta(days=31), "expired", "expired on 2026-03-31 12:00 UTC"),
        (PINS, b"TLSv1.3", PEM, NOW - timedelta(days=2), "expired", "check the clocks"),
    ],
)
def test_everybody_else_is_told_why_not(
    pins: dict[bytes, Pin], version: bytes, pem: bytes, now: datetime, kind: str, words: str
) -> None:
    with pytest.raises(NotAdmitted, match=words) as refused:
        admit(pins, "hospital", version, pem, now)
    assert refused.value.kind == kind


def test_the_environment_forces_the_suites_and_leaves_the_verbosity_to_the_operator() -> None:
    assert grpc_environment({"GRPC_SSL_CIPHER_SUITES": "ALL", "GRPC_VERBOSITY": "DEBUG"}) == {
        "GRPC_SSL_CIPHER_SUITES": CIPHER_SUITES,
        "GRPC_VERBOSITY": "DEBUG",
    }


def test_reconnecting_slows_down_and_hospitals_do_not_come_at_once() -> None:
    delays = [reconnect_delay_s(attempt, "north") for attempt in range(1, 30)]
    assert delays == sorted(delays)
    assert 0.05 <= delays[0] <= 0.1
    assert 5 <= delays[-1] <= 10
    assert len({reconnect_delay_s(9, f"h{i}") for i in range(20)}) > 10


@pytest.mark.parametrize(
    ("text", "parts"),
    [("localhost:9443", ("localhost", 9443)), ("[::1]:1", ("::1", 1)), ("10.0.0.1:0", ("10.0.0.1", 0))],
)
def test_addresses(text: str, parts: tuple[str, int]) -> None:
    assert split_address(text) == parts


@pytest.mark.parametrize(
    "text", ["", "host", "host:", ":9443", "host:x", "host:65536", "host:-1", "https://host:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(AddressError, match="write host:port"):
        split_address(text)

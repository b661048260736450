"""What a hostile message costs in memory, the parser's own included: measured as the process's peak, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The message as received and what is copied of it; the constant holds what 1,000 entries of a kind become.
FACTOR, AT_LEAST = 6, 4 << 20
SIZE = 2 << 20

PROGRAM = """
import functools, sys
from secagg.wire import codec, flat
from tests.fuzz.test_memory import SIZE, hostile, peak

record, first, unit = hostile()[sys.argv[1]]
data = first + unit * (SIZE // len(unit))
bounded = flat.layout

@functools.cache
def boundless(record):
    return tuple(one._replace(high=SIZE) if one.key else one for one in bounded(record))

for flat.layout in (bounded, boundless):
    before = peak()
    try:
        codec.decode(record, data)
    except codec.WireError:
        print(peak() - before)
"""


def hostile() -> dict[str, tuple[type, bytes, bytes]]:
    """Name to (record, what comes first, the piece that is repeated): the shortest entries and the strangest fields."""
    from secagg.wire import codec
    from secagg.wire import records as r

    body = codec.encode(r.ReceiptBody(1, bytes(32), bytes(32), b"u", (), (), bytes(32), 0, b"", bytes(16)))
    return {
        "missing": (r.ReceiptBody, body[: body.index(b"\x3a\x20")], b"\x32\x04\x0a\x02aa"),
        "deposits": (r.AgreeRequest, b"\x0a\x01u", b"\x12\x00"),
        "adverts": (r.KeyList, b"", b"\x12\x00"),
        "seals": (r.Seals, b"", b"\x12\x00"),
        "signatures": (r.OpenRequest, b"", b"\x12\x00"),
        "shares": (r.Shares, b"", b"\x12\x00"),
        "contributions": (r.GraphSeed, b"", b"\x0a\x20" + bytes(32)),
        "a singular field again and again": (r.Signed, b"", b"\x0a\x01a"),
        "unknown fields": (r.Signed, b"", b"\x7a\x00"),
        "groups": (r.Signed, b"", b"\x7b\x7c"),
        "one long body": (r.Signed, b"", b"\x0a\xfc\xff\x7f" + bytes(SIZE - 4)),
    }


def peak() -> int:
    """The most memory that this process ever held, bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def grown(name: str) -> list[int]:
    """How far the peak rises as the code is, and then without its bound on the number of entries, bytes."""
    command = [sys.executable, "-c", PROGRAM, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_short_entries_cost_ten_times_their_length_only_without_the_bound_on_their_number() -> None:
    built, without = grown("missing")
    assert built <= FACTOR * SIZE + AT_LEAST
    assert without > 10 * SIZE


@pytest.mark.slow
@pytest.mark.threat("FL-19", control="C-LIMITS")
@pytest.mark.parametrize("name", hostile())
def test_reading_costs_a_small_multiple_of_the_length(name: str) -> None:
    assert grown(name)[0] <= FACTOR * SIZE + AT_LEAST

"""What a hostile message costs in memory, the parser's own included: measured as the process's peak, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
# The message as received, unframed and copied by the parser; the constant holds what 1,000 entries of a kind become.
FACTOR, AT_LEAST = 6, 4 << 20
SIZE = 4 << 20

PROGRAM = """
import sys
from secagg.wire import codec, shape
from tests.fuzz.test_memory import SIZE, hostile, peak

record, kind, unit = hostile()[sys.argv[1]]
message = codec.wrap(kind, unit * (SIZE // len(unit)))
for control in (shape.check_shape, lambda *_: None):
    shape.check_shape = control
    before = peak()
    try:
        codec.unpack(kind, record, message)
    except codec.WireError:
        print(peak() - before)
"""


def hostile() -> dict[str, tuple[type, str, bytes]]:
    """Name to (record, kind, the piece that is repeated): the shortest entries and the strangest fields."""
    from secagg.wire import records as r

    return {
        "deposits": (r.AgreeRequest, "agree_request", b"\x12\x00"),
        "adverts": (r.KeyList, "key_list", b"\x12\x00"),
        "seals": (r.Seals, "seals", b"\x12\x00"),
        "signatures": (r.OpenRequest, "open_request", b"\x12\x00"),
        "shares": (r.Shares, "shares", b"\x12\x00"),
        "a singular field again and again": (r.Signed, "upload_header", b"\x0a\x01a"),
        "unknown fields": (r.Signed, "upload_header", b"\x7a\x00"),
        "groups": (r.Signed, "upload_header", b"\x7b\x7c"),
        "one long body": (r.Signed, "round_order", b"\x0a\xfb\xff\xff\x01" + bytes((4 << 20) - 5)),
    }


def peak() -> int:
    """The most memory that this process ever held, bytes."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def grown(name: str) -> list[int]:
    """How far the peak rises as the code is, and then without its look at the shape, bytes."""
    command = [sys.executable, "-c", PROGRAM, name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return [int(line) for line in done.stdout.split()]


@pytest.mark.threat("FL-19", control="C-LIMITS")
def test_empty_entries_cost_forty_times_their_length_only_without_the_look_at_the_shape() -> None:
    built, without = grown("deposits")
    assert built <= FACTOR * SIZE + AT_LEAST
    assert without > 20 * SIZE


@pytest.mark.slow
@pytest.mark.threat("FL-19", control="C-LIMITS")
@pytest.mark.parametrize("name", hostile())
def test_reading_costs_a_small_multiple_of_the_length(name: str) -> None:
    assert grown(name)[0] <= FACTOR * SIZE + AT_LEAST

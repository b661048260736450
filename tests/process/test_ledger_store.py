"""kill -9 at any moment: the chain stays valid and counts everything that was announced."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hospital_node.clock import SystemClock
from hospital_node.ledger_store import LedgerStore
from privacy.ledgers.charges import charged
from privacy.ledgers.ledger import fold
from secagg.secret import SecretBytes

SEED = b"\x05" * 32

_WRITER = """
import itertools, sys
from pathlib import Path
from hospital_node.clock import SystemClock
from hospital_node.ledger_store import LedgerStore
from privacy.guarantees.release import Release
from secagg.secret import SecretBytes

release = Release("train", "poisson_gaussian", 2.3, sample_rate=0.1, steps=20)
session = sys.argv[2]
with LedgerStore(Path(sys.argv[1]), SecretBytes(b"\\x05" * 32), SystemClock()) as store:
    for number in itertools.count(1):
        key = dict(study_hash="ab" * 32, session=session, round_number=number)
        store.reserve(study_id="demo", release=release, **key)
        print("RESERVE", number, flush=True)
        store.spend(**key)
        print("SPENT", number, flush=True)
"""


def killed_writer(path: Path, session: str, seconds: float) -> list[tuple[str, int]]:
    """Let a process write for a moment, kill it, and return what it announced as written."""
    process = subprocess.Popen(
        [sys.executable, "-c", _WRITER, str(path), session], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read()
    assert process.wait() == -signal.SIGKILL
    lines = (first + rest).decode().splitlines()
    # The last line may be cut in the pipe; every whole one was on the disk before it was printed.
    return [(kind, int(number)) for kind, _, number in (line.partition(" ") for line in lines) if number]


@pytest.mark.threat("FL-15", control="C-LEDGER")
def test_kill_9_never_undercounts(tmp_path: Path) -> None:
    path = tmp_path / "ledger.sqlite"
    announced: set[tuple[str, str, int]] = set()
    for attempt, seconds in enumerate((0.003, 0.011, 0.05)):
        session = f"{attempt:032x}"
        announced |= {(kind, session, number) for kind, number in killed_writer(path, session, seconds)}
        with LedgerStore(path, SecretBytes(SEED), SystemClock()) as store:
            entries = store.entries()
    rounds = fold(entries)
    for kind, session, number in announced:
        state = rounds["ab" * 32, session, number]
        assert kind == "RESERVE" or state.kind == "SPENT"
    assert len(charged(entries)) >= sum(kind == "RESERVE" for kind, _, _ in announced) >= 3

"""kill -9 at any moment of a round: what a hospital announced is on its disk, and its rules go on from there."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from hospital_node.journal import Journal
from secagg.state_codec import decode_state
from tests.unit.secagg.rounds import STUDY, key_of

STEPS = ("Uploaded", "Agreed", "Opened")

# One hospital on a real journal, round after round; the others are in the same process and need no disk.
_HOSPITAL = """
import hashlib, itertools, sys
from pathlib import Path
from hospital_node.journal import Journal
from secagg import coordinator as co
from secagg.state_codec import encode_state
from tests.unit.secagg.rounds import STUDY, consortium

journal = Journal(Path(sys.argv[1]))
c = consortium(session_number=int(sys.argv[2]), first_round=journal.floor(STUDY) + 1)

def keep(number, request, reply):
    state = c.hospitals["h000"]
    journal.commit(STUDY, number, encode_state(state), request, (reply,))
    digest = hashlib.sha256(reply).hexdigest()
    print(type(state).__name__, number, hashlib.sha256(request).hexdigest(), digest, flush=True)

previous = b""
for number in itertools.count(c.first_round):
    uploading = c.order(number, c.hospitals, previous=previous)
    order = c.messages[-1]
    uploading = c.upload_all(uploading, c.hospitals)
    keep(number, order, c.uploads["h000"].header)
    agreeing, requests = co.propose(uploading)
    agreeing = c.agree_all(agreeing, requests)
    keep(number, requests["h000"], b"agreement" + c.messages[-1])
    opening, asked = co.request_open(agreeing)
    opening = c.open_all(opening, asked)
    keep(number, asked["h000"], b"shares" + c.messages[-1])
    previous = co.make_receipt(opening, co.unmask(opening, c.masked(opening.members)))
    c.deliver_receipt(previous)
"""


def killed(path: Path, session: int, seconds: float) -> tuple[str, int, str, str]:
    """Let the hospital run for a moment, kill it, and return the last step that it announced."""
    process = subprocess.Popen(
        [sys.executable, "-c", _HOSPITAL, str(path), str(session)], stdout=subprocess.PIPE, cwd=os.getcwd()
    )
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    rest = process.stdout.read()
    assert process.wait() == -signal.SIGKILL
    lines = [line.split() for line in (first + rest).decode().splitlines()]
    whole = [line for line in lines if len(line) == 4 and len(line[3]) == 64]
    kind, number, request, reply = whole[-1]
    return kind, int(number), request, reply


@pytest.mark.slow
@pytest.mark.threat("FL-08", control="C-ONESHARE")
def test_kill_9_forgets_nothing_that_was_announced(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    highest = 0
    for session, seconds in enumerate((0.0, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.13, 0.21)):
        kind, number, request, reply = killed(path, session, seconds)
        assert number > highest, "a round number was used in two sessions"
        journal = Journal(path)
        assert not journal.restored, "a crash looks like a restored copy"
        stored = journal.state(STUDY)
        assert stored is not None
        # Some state of a round; which one it is, is asked below.
        state: Any = decode_state(stored, key_of("h000"))
        found = (state.frame.round, STEPS.index(type(state).__name__))
        assert found >= (number, STEPS.index(kind)), "what was announced is not on the disk"
        if found[0] == number:
            row = journal._db.execute(
                "SELECT reply FROM replies WHERE request = ?", (bytes.fromhex(request),)
            ).fetchone()
            assert row is not None
            assert hashlib.sha256(row[0]).hexdigest() == reply, "other bytes than were announced"
        highest = journal.floor(STUDY)
        assert highest >= found[0]
        journal.close()

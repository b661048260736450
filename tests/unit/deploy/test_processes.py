"""Processes of a consortium on one machine: started, heard, killed, and never left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from deploy.processes import ProcessGroup

ECHO = """
import json, sys
print(json.dumps({"event": "listening", "port": 7}), flush=True)
print("plain", flush=True)
print("to the log", file=sys.stderr, flush=True)
for line in sys.stdin:
    print(json.dumps({"event": "heard", "text": line.strip()}), flush=True)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Modules that a child process can run by name."""
    (tmp_path / "echo_role.py").write_text(ECHO)
    (tmp_path / "stubborn_role.py").write_text(STUBBORN)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


def test_lines_come_with_their_process_and_their_json(modules: Path) -> None:
    with ProcessGroup(modules / "logs") as group:
        role = group.start("north", "echo_role", [])
        lines = group.lines(20)
        first, second = next(lines), next(lines)
        assert (first.process, first.event) == ("north", {"event": "listening", "port": 7})
        assert (second.text, second.event) == ("plain", None)
        role.answer("y")
        assert next(lines).event == {"event": "heard", "text": "y"}
        pid = role.pid
    assert gone(pid)
    log = (modules / "logs" / "north.log").read_text()
    assert "to the log" in log
    assert "listening" in log


def test_sigkill_reaches_the_process_id_and_the_end_is_told(modules: Path) -> None:
    with ProcessGroup(modules / "logs") as group:
        role = group.start("north", "echo_role", [])
        lines = group.lines(20)
        next(lines)
        role.kill()
        assert any(line.ended for line in lines)
        assert group.wait("north", 5) == -signal.SIGKILL
        # Nobody is there to hear it, and that is no error.
        role.answer("y")


def test_no_process_is_left_whatever_happens(modules: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.processes.STOP_PATIENCE_S", 0.3)
    pids: list[int] = []

    def fail() -> None:
        with ProcessGroup(modules / "logs") as group:
            pids.extend(group.start(name, f"{name}_role", []).pid for name in ("echo", "stubborn"))
            seen: set[str] = set()
            for line in group.lines(20):
                seen.add(line.process)
                if seen == {"echo", "stubborn"}:
                    break
            assert group.wait("stubborn", 0.05) is None
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert all(gone(pid) for pid in pids)


def test_waiting_for_lines_ends_at_the_deadline(modules: Path) -> None:
    with ProcessGroup(modules / "logs") as group:
        assert list(group.lines(0.05)) == []

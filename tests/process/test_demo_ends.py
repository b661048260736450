"""The demo that cannot succeed, is interrupted, or is asked for something unknown: no success is printed, nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.process.demo_runs import ROOT, no_process_left


def test_too_few_survivors_end_with_the_reason(tmp_path: Path) -> None:
    """All four must answer, one is killed: no success is printed, exit code 3."""
    text = (
        "from pathlib import Path\n"
        "from rich.console import Console\n"
        "from deploy.demo_consortium import DemoFolder, prepare\n"
        "from deploy.demo_report import finish\n"
        "from deploy.demo_run import KillPlan, run_processes\n"
        "console = Console(soft_wrap=True)\n"
        "folder = DemoFolder(Path('demo').resolve())\n"
        "run = prepare(folder, console)\n"
        "text = run.study.read_text().replace('threshold = 3', 'threshold = 4')\n"
        "text = text.replace('minimum_answers = 3', 'minimum_answers = 4').replace('deadline_s = 60', 'deadline_s = 6')\n"
        "run.study.write_text(text)\n"
        "raise SystemExit(finish(run, run_processes(run, KillPlan('south', 'upload', 4), console), console))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", text],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 3, done.stdout + done.stderr
    result = json.loads((tmp_path / "demo" / "run-1" / "result.json").read_text())
    assert result["status"] == "failed"
    assert "4 must answer" in result["reason"]
    assert "south" in result["reason"]
    assert "south" in (tmp_path / "demo" / "run-1" / "pia.html").read_text()


def test_interrupting_the_demo_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "deploy.demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # As a shell starts its background jobs.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN),
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "round 2 of" in line:
            break
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(30) == 130, rest
    assert "interrupted" in rest
    end = time.monotonic() + 5
    while not no_process_left(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    assert no_process_left(tmp_path)


def test_a_wrong_wish_is_one_sentence(tmp_path: Path) -> None:
    demo = subprocess.run(
        [sys.executable, "-m", "deploy.demo"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "KILL": "everything"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert demo.returncode == 2
    assert demo.stderr == "error: KILL=everything is not known; take one of upload, agree, open\n"

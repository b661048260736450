"""The pytest plugin: outcomes reach the file, also from workers; a wrong mark is an error; commits are not borrowed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coordinator.pia.code_identity import code_identity

ROOT = Path(__file__).parents[3]

TESTS = """
import pytest
pki = pytest.mark.threat("FL-06", control="C-PKI")
@pki
def test_passes(): pass
@pki
def test_fails(): assert False
@pki
def test_skipped(): pytest.skip("no reason")
@pki
@pytest.mark.parametrize("n", [1, 2])
def test_many(n): pass
@pytest.fixture
def broken(): raise RuntimeError
@pki
def test_setup(broken): pass
def test_unmarked(): pass
"""


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def repository(root: Path, tests: str) -> Path:
    (root / "test_it.py").write_text(tests)
    (root / "pytest.ini").write_text("[pytest]\nmarkers = threat(id, control): as in the project\n")
    (root / ".gitignore").write_text("out/\n__pycache__/\n.pytest_cache/\n")
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "x")
    return root


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "tests.threat_plugin", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def test_outcomes_of_workers_are_written_with_commit_and_state_of_the_tree(tmp_path: Path) -> None:
    root = repository(tmp_path, TESTS)
    run(root, "-n", "2")
    found = json.loads((root / "out" / "test-evidence.json").read_text())
    assert (found["commit"], found["dirty"]) == (git(root, "rev-parse", "HEAD"), False)
    outcomes = {test["id"].partition("::")[2]: test["outcome"] for test in found["tests"]}
    assert outcomes == {
        "test_passes": "passed",
        "test_fails": "failed",
        "test_skipped": "skipped",
        "test_many[1]": "passed",
        "test_many[2]": "passed",
        "test_setup": "failed",
    }
    assert {tuple(test["controls"]) for test in found["tests"]} == {("C-PKI",)}


def test_uncommitted_changes_are_recorded(tmp_path: Path) -> None:
    root = repository(tmp_path, TESTS)
    (root / "new.py").write_text("")
    run(root, "-n", "0", "-k", "test_passes")
    found = json.loads((root / "out" / "test-evidence.json").read_text())
    assert found["dirty"] is True
    assert [test["outcome"] for test in found["tests"]] == ["passed"]


@pytest.mark.parametrize("mark", ['"FL-06"', '"FL-06", control="C-DP"'])
def test_a_mark_that_the_register_does_not_know_stops_the_session(tmp_path: Path, mark: str) -> None:
    root = repository(tmp_path, f"import pytest\n@pytest.mark.threat({mark})\ndef test_it(): pass\n")
    done = run(root)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "threat_model/register.json" in done.stdout + done.stderr


def test_a_folder_inside_somebodys_repository_does_not_borrow_its_commit(tmp_path: Path) -> None:
    root = repository(tmp_path, TESTS)
    inner = root / "site-packages"
    inner.mkdir()
    assert code_identity(root).commit == git(root, "rev-parse", "HEAD")
    assert code_identity(inner).commit is None
    assert code_identity(inner).dirty is None

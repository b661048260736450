"""The journal: one transaction holds a state and its replies."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest

from hospital_node.journal import Journal

STUDY, OTHER = bytes(32), b"\x01" * 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "session" / "journal.db"


def test_what_was_committed_is_there_after_reopening(path: Path) -> None:
    journal = Journal(path)
    journal.commit(STUDY, 1, b"state", b"request", [b"one", b"two"])
    journal.close()
    again = Journal(path)
    assert again.state(STUDY) == b"state"
    assert again.replies(STUDY, b"request") == (b"one", b"two")
    assert again.replies(STUDY, b"another") is None
    again.close()


def test_studies_are_apart(path: Path) -> None:
    journal = Journal(path)
    journal.commit(STUDY, 5, b"state", b"request", [b"one"])
    journal.commit(OTHER, 1, b"other", b"request", [b"two"])
    assert (journal.state(STUDY), journal.state(OTHER)) == (b"state", b"other")
    assert journal.replies(STUDY, b"request") == (b"one",)
    journal.close()


def test_a_new_round_forgets_the_replies_of_the_old_one(path: Path) -> None:
    journal = Journal(path)
    journal.commit(STUDY, 1, b"uploaded", b"order 1", [b"vector 1"])
    journal.commit(STUDY, 1, b"agreed", b"agree 1", [b"signature 1"])
    assert journal.replies(STUDY, b"order 1") == (b"vector 1",)
    journal.commit(STUDY, 2, b"uploaded", b"order 2", [b"vector 2"])
    assert journal.replies(STUDY, b"order 1") is None
    assert journal.replies(STUDY, b"agree 1") is None
    journal.close()
    assert b"vector 1" not in path.read_bytes()


def test_a_request_is_answered_once(path: Path) -> None:
    """A second answer to the same bytes takes the state back with it."""
    journal = Journal(path)
    journal.commit(STUDY, 1, b"first", b"request", [b"one"])
    with pytest.raises(Exception, match="UNIQUE"):
        journal.commit(STUDY, 1, b"second", b"request", [b"two"])
    assert journal.state(STUDY) == b"first"
    assert journal.replies(STUDY, b"request") == (b"one",)
    journal.commit(STUDY, 1, b"third", b"other request", [b"three"])
    assert journal.state(STUDY) == b"third"
    journal.close()


class FullDisk:
    """A connection whose commits fail."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def execute(self, statement: str, *values: Any) -> sqlite3.Cursor:
        if statement == "COMMIT":
            raise sqlite3.OperationalError("database or disk is full")
        return self._database.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._database, name)


def test_what_could_not_be_committed_is_not_answered(path: Path) -> None:
    journal = Journal(path)
    database = journal._db
    journal._db = FullDisk(database)  # type: ignore[assignment]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        journal.commit(STUDY, 1, b"state", b"request", [b"one"])
    assert journal.replies(STUDY, b"request") is None
    assert journal.state(STUDY) is None
    journal._db = database
    journal.commit(STUDY, 1, b"state", b"request", [b"one"])
    assert journal.replies(STUDY, b"request") == (b"one",)
    journal.close()


@pytest.mark.threat("FL-24", control="C-LEAST")
def test_only_the_owner_may_read_it(path: Path) -> None:
    journal = Journal(path)
    journal.commit(STUDY, 1, b"state", b"request", [b"one"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    journal.close()


def test_it_waits_for_the_disk(path: Path) -> None:
    journal = Journal(path)
    database = journal._db
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    assert database.execute("PRAGMA secure_delete").fetchone() == (1,)
    journal.close()
